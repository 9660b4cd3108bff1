//! The controllers of workloads: ReplicaSet, ReplicationController, Deployment, StatefulSet, DaemonSet, Job, CronJob,
//! PodDisruptionBudget.
//!
//! Each controller is a pure `plan` (a snapshot in, actions and a status out, tested by tables) and a small shell that
//! reads the snapshot from shared informers and carries the plan out through the client. Objects are read as views of a
//! few fields and written by editing their own JSON. The behaviour, conditions, reasons and texts are upstream's.

pub mod claim;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod hash;
pub mod job;
pub mod pod;
pub mod replicaset;
pub mod revision;
mod run;
mod shell;
pub mod statefulset;
pub mod view;

pub use run::{ClientFor, run};
