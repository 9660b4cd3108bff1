//! Workloads: apps, batch, autoscaling.
use super::{Resource, build::*, conversions, fields};
use crate::{
    print,
    strategy::{self, MetadataRules, NameRule, StatusMetadata, generation::ON_SPEC},
};

pub fn rows() -> Vec<Resource> {
    let workload = |kind, plural, short: &'static str| {
        namespaced("apps", "v1", kind, plural).short(&[short]).categories(&["all"]).strategy(|s| {
            s.generation = Some(ON_SPEC);
            s.pod_spec = "spec.template.spec";
        })
    };
    vec![
        namespaced("apps", "v1", "ControllerRevision", "controllerrevisions").columns(print::controller_revision()),
        workload("DaemonSet", "daemonsets", "ds").status().columns(print::daemon_set()).strategy(|s| {
            s.inner_annotations = &[strategy::workload::TEMPLATE_GENERATION];
            s.read = Some(strategy::workload::read_daemon_set);
            s.prepare_create = Some(strategy::workload::prepare_daemon_set);
            s.prepare_update = Some(strategy::workload::update_daemon_set);
        }),
        workload("Deployment", "deployments", "deploy").scale().status().columns(print::deployment()).strategy(|s| {
            s.inner_zeros = &["spec.replicas"];
            s.generation = Some(strategy::generation::ON_SPEC_OR_ANNOTATIONS);
            s.status_metadata = StatusMetadata::NoLabels;
        }),
        workload("ReplicaSet", "replicasets", "rs").scale().status().columns(print::replica_set()).strategy(|s| s.inner_zeros = &["spec.replicas"]),
        workload("StatefulSet", "statefulsets", "sts").scale().status().columns(print::stateful_set()).strategy(|s| {
            s.name = NameRule::Label;
            s.inner_zeros = &["spec.replicas"];
            s.read = Some(strategy::workload::read_stateful_set);
        }),
        namespaced("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
            .short(&["hpa"])
            .categories(&["all"])
            .also(&["v1"])
            .status()
            .columns(print::horizontal_pod_autoscaler())
            .strategy(|s| {
                s.generation = Some(ON_SPEC);
                s.inner_annotations = conversions::AUTOSCALER_NOTES;
            })
            .stored_as("autoscaling", "v2", "horizontalpodautoscalers.autoscaling", conversions::autoscaler),
        namespaced("batch", "v1", "CronJob", "cronjobs").short(&["cj"]).categories(&["all"]).status().columns(print::cron_job()).strategy(|s| {
            s.generation = Some(ON_SPEC);
            s.gated = strategy::gates::CRON_JOB;
            s.pod_spec = "spec.jobTemplate.spec.template.spec";
        }),
        namespaced("batch", "v1", "Job", "jobs").categories(&["all"]).status().columns(print::job()).fields(fields::JOB).strategy(|s| {
            s.generation = Some(ON_SPEC);
            s.gated = strategy::gates::JOB;
            s.metadata_rules = MetadataRules::FirstAlone;
            s.orphans_by_default = true;
            s.pod_spec = "spec.template.spec";
            s.prepare_create = Some(strategy::workload::prepare_job);
        }),
    ]
}
