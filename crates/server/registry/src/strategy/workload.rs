//! Workloads: facts that the server fills in at creation.
use super::Prepare;
use crate::value::{flag, map_mut, set, text};
use skiff_json::{Value, json};

pub fn prepare_daemon_set(v: &mut Value, _: &Prepare<'_>) {
    if let Some(notes) = map_mut(v, "metadata.annotations") {
        notes.insert(TEMPLATE_GENERATION, "1".into());
    }
}

/// Upstream keeps the count in a field of its own and shows it as an annotation, from the start.
pub fn read_daemon_set(v: &mut Value) {
    if let Some(notes) = map_mut(v, "metadata.annotations") {
        notes.entry(TEMPLATE_GENERATION).or_insert_with(|| "0".into());
        notes.sort_keys();
    }
}

/// Templates of claims say what they are.
pub fn read_stateful_set(v: &mut Value) {
    let Some(templates) = v.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut) else { return };
    for template in templates.iter_mut().filter_map(Value::as_object_mut) {
        for (key, value) in [("kind", "PersistentVolumeClaim"), ("apiVersion", "v1")] {
            if template.get(key).and_then(Value::as_str).unwrap_or_default().is_empty() {
                template.insert(key, value.into());
            }
        }
    }
}

/// A node's first range and the list of its ranges say the same; the first one wins.
pub fn read_node(v: &mut Value) {
    let Some(spec) = map_mut(v, "spec") else { return };
    let one = spec.get("podCIDR").and_then(Value::as_str).unwrap_or_default().to_owned();
    let first = spec.get("podCIDRs").and_then(|l| l.get(0)).map(|f| f.as_str().unwrap_or_default().to_owned());
    match first {
        first if !one.is_empty() && first.as_deref() != Some(&one) => drop(spec.insert("podCIDRs", json!([one]))),
        Some(first) if one.is_empty() => drop(spec.insert("podCIDR", first.into())),
        _ => {}
    }
}

/// Configuration by ConfigMap is gone; what asks for it is not kept.
pub fn prepare_node(v: &mut Value, _: &Prepare<'_>) {
    crate::value::remove(v, "spec.configSource");
    crate::value::remove(v, "status.config");
}

pub fn update_node(v: &mut Value, _: &Value, p: &Prepare<'_>) {
    prepare_node(v, p);
}

/// Fields of leader election that 1.37 has switched off.
pub fn prepare_lease(v: &mut Value, _: &Prepare<'_>) {
    crate::value::remove(v, "spec.strategy");
    crate::value::remove(v, "spec.preferredHolder");
}

pub fn update_lease(v: &mut Value, _: &Value, p: &Prepare<'_>) {
    prepare_lease(v, p);
}

/// A LimitRange without a name is called by a uid.
pub fn name_limit_range(v: &mut Value, _: &Prepare<'_>) {
    if text(v, "metadata.name").is_empty() {
        let uid = text(v, "metadata.uid").to_owned();
        set(v, "metadata.name", uid);
    }
}

/// Where a DaemonSet shows how often its template changed.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub fn update_daemon_set(v: &mut Value, old: &Value, _: &Prepare<'_>) {
    let before: i64 = crate::value::map(old, "metadata.annotations").and_then(|m| m.get(TEMPLATE_GENERATION)?.as_str()?.parse().ok()).unwrap_or(1);
    let moved = !crate::value::same(crate::value::at(v, "spec.template"), crate::value::at(old, "spec.template"));
    if let Some(notes) = map_mut(v, "metadata.annotations") {
        notes.insert(TEMPLATE_GENERATION, (before + moved as i64).to_string().into());
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
        for (key, value) in
            [("batch.kubernetes.io/controller-uid", &uid), ("batch.kubernetes.io/job-name", &name), ("controller-uid", &uid), ("job-name", &name)]
        {
            // What a client set itself is for validation to judge.
            labels.entry(key).or_insert_with(|| value.clone().into());
        }
        labels.sort_keys();
    }
    // Read again, a Job without labels has its template's.
    if crate::value::map(v, "metadata.labels").is_none_or(|m| m.is_empty()) {
        let labels = crate::value::at(v, "spec.template.metadata.labels").cloned().unwrap_or_default();
        set(v, "metadata.labels", labels);
    }
    if let Some(chosen) = map_mut(v, "spec.selector.matchLabels") {
        chosen.entry("batch.kubernetes.io/controller-uid").or_insert_with(|| uid.into());
        chosen.sort_keys();
    }
}
