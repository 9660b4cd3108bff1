//! Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob
