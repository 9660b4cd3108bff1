//! The groups apps and batch.

use skiff_json::{Map, json};

use super::fields::FieldsExt;

const HISTORY: i64 = 10;

pub fn apps(name: &str, map: &mut Map) {
    match name {
        "Deployment" => deployment(map.object_mut("spec")),
        "DaemonSet" => daemon_set(map.object_mut("spec")),
        "StatefulSet" => stateful_set(map.object_mut("spec")),
        "ReplicaSet" => map.object_mut("spec").set_nil("replicas", 1),
        _ => {}
    }
}

fn deployment(spec: &mut Map) {
    spec.set_nil("replicas", 1);
    let strategy = spec.object_mut("strategy");
    strategy.set_zero("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.object_mut("rollingUpdate");
        rolling.set_nil("maxUnavailable", "25%");
        rolling.set_nil("maxSurge", "25%");
    }
    spec.set_nil("revisionHistoryLimit", HISTORY);
    spec.set_nil("progressDeadlineSeconds", 600);
}

fn daemon_set(spec: &mut Map) {
    let strategy = spec.object_mut("updateStrategy");
    strategy.set_zero("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.object_mut("rollingUpdate");
        rolling.set_nil("maxUnavailable", 1);
        rolling.set_nil("maxSurge", 0);
    }
    spec.set_nil("revisionHistoryLimit", HISTORY);
}

fn stateful_set(spec: &mut Map) {
    spec.set_zero("podManagementPolicy", "OrderedReady");
    let strategy = spec.object_mut("updateStrategy");
    if strategy.is_zero("type") {
        strategy.set_zero("type", "RollingUpdate");
        strategy.set_nil("rollingUpdate", json!({}));
    }
    if strategy.text("type") == "RollingUpdate" && !strategy.is_nil("rollingUpdate") {
        let rolling = strategy.object_mut("rollingUpdate");
        rolling.set_nil("partition", 0);
        rolling.set_nil("maxUnavailable", 1);
    }
    let retention = spec.object_mut("persistentVolumeClaimRetentionPolicy");
    retention.set_zero("whenDeleted", "Retain");
    retention.set_zero("whenScaled", "Retain");
    spec.set_nil("replicas", 1);
    spec.set_nil("revisionHistoryLimit", HISTORY);
}

pub fn batch(name: &str, map: &mut Map) {
    match name {
        "Job" => job(map),
        "CronJob" => cron_job(map.object_mut("spec")),
        "PodFailurePolicyOnPodConditionsPattern" => map.set_zero("status", "True"),
        _ => {}
    }
}

fn job(map: &mut Map) {
    let spec = map.object_mut("spec");
    if spec.is_nil("completions") && spec.is_nil("parallelism") {
        spec.set_nil("completions", 1);
    }
    spec.set_nil("parallelism", 1);
    let retries = if spec.is_nil("backoffLimitPerIndex") { 6 } else { i32::MAX };
    spec.set_nil("backoffLimit", retries);
    spec.set_nil("completionMode", "NonIndexed");
    spec.set_nil("suspend", false);
    let replacement = if spec.is_nil("podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    spec.set_nil("podReplacementPolicy", replacement);
    spec.set_nil("manualSelector", false);
    let template = spec.object("template").and_then(|t| t.object("metadata"));
    if let Some(labels) = template.and_then(|m| m.get("labels")).cloned() {
        map.object_mut("metadata").set_zero("labels", labels);
    }
}

fn cron_job(spec: &mut Map) {
    spec.set_zero("concurrencyPolicy", "Allow");
    spec.set_nil("suspend", false);
    spec.set_nil("successfulJobsHistoryLimit", 3);
    spec.set_nil("failedJobsHistoryLimit", 1);
}
