//! Workloads: facts that the server fills in at creation.
use super::Prepare;
use crate::value::{flag, map_mut, set, text};
use serde_json::{Value, json};

pub fn prepare_daemon_set(v: &mut Value, _: &Prepare<'_>) {
    if let Some(notes) = map_mut(v, "metadata.annotations") {
        notes.insert(TEMPLATE_GENERATION.into(), "1".into());
    }
}

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub fn update_daemon_set(v: &mut Value, old: &Value, _: &Prepare<'_>) {
    let before: i64 = crate::value::map(old, "metadata.annotations").and_then(|m| m.get(TEMPLATE_GENERATION)?.as_str()?.parse().ok()).unwrap_or(1);
    let moved = !crate::value::same(crate::value::at(v, "spec.template"), crate::value::at(old, "spec.template"));
    if let Some(notes) = map_mut(v, "metadata.annotations") {
        notes.insert(TEMPLATE_GENERATION.into(), (before + moved as i64).to_string().into());
    }
}

/// Jobs select their pods by a generated selector, unless the client takes care of it.
pub fn prepare_job(v: &mut Value, _: &Prepare<'_>) {
    crate::value::remove(v, "status");
    if flag(v, "spec.manualSelector") {
        return;
    }
    let (uid, name) = (text(v, "metadata.uid").to_owned(), text(v, "metadata.name").to_owned());
    if let Some(labels) = map_mut(v, "spec.template.metadata.labels") {
        for (key, value) in [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ] {
            labels.insert(key.into(), value.clone().into());
        }
        labels.sort_keys();
    }
    set(v, "spec.selector", json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
}
