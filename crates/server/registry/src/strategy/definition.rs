//! CustomResourceDefinitions: stored versions are tracked in the status, names are accepted by a controller.
use super::Prepare;
use crate::{
    table::Role,
    value::{copy, list, set, text},
};
use skiff_json::{Value, json};

pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub fn prepare_create(v: &mut Value, _: &Prepare<'_>) {
    let stored = storage_version(v);
    set(v, "status", json!({"storedVersions": if stored.is_empty() { Value::Null } else { stored.into() }}));
}

/// The first deletion puts the finalizer that keeps the definition until its objects are gone.
pub fn prepare_delete(v: &Value, now: &str) -> Value {
    let mut v = v.clone();
    let mut finalizers = list(&v, "metadata.finalizers").to_vec();
    if !finalizers.iter().any(|f| f == CLEANUP) {
        finalizers.push(CLEANUP.into());
        set(&mut v, "metadata.finalizers", finalizers);
    }
    set_condition(
        &mut v,
        "Terminating",
        true,
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        now,
    );
    v
}

/// Puts a condition into the status; its time moves when its truth does.
pub fn set_condition(v: &mut Value, kind: &str, truth: bool, reason: &str, message: &str, now: &str) {
    let status = if truth { "True" } else { "False" };
    let mut all = list(v, "status.conditions").to_vec();
    let old = all.iter().position(|c| text(c, "type") == kind);
    let since = old.and_then(|i| all.get(i)).filter(|c| text(c, "status") == status).map(|c| text(c, "lastTransitionTime").to_owned());
    let new = json!({"type": kind, "status": status, "lastTransitionTime": since.unwrap_or_else(|| now.to_owned()), "reason": reason, "message": message});
    match old.and_then(|i| all.get_mut(i)) {
        Some(c) => *c = new,
        None => all.push(new),
    }
    set(v, "status.conditions", all);
}

pub fn prepare_update(v: &mut Value, old: &Value, p: &Prepare<'_>) {
    if p.role == Some(Role::Status) {
        return;
    }
    copy(v, old, "status");
    let mut stored = list(v, "status.storedVersions").to_vec();
    for version in storage_version(v) {
        if !stored.contains(&version) {
            stored.push(version);
        }
    }
    set(v, "status.storedVersions", stored);
}

/// The first version that says it is the stored one: validation refuses another.
fn storage_version(v: &Value) -> Vec<Value> {
    list(v, "spec.versions").iter().filter(|x| x["storage"] == true).map(|x| text(x, "name").into()).take(1).collect()
}
