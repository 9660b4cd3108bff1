//! CustomResourceDefinitions: stored versions are tracked in the status, names are accepted by a controller.
use super::Prepare;
use crate::{table::Role, value::{copy, list, set, text}};
use serde_json::{Value, json};

const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub fn prepare_create(v: &mut Value, _: &Prepare<'_>) {
    let stored = storage_version(v);
    set(v, "status", json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}));
    let mut finalizers = list(v, "metadata.finalizers").to_vec();
    if !finalizers.iter().any(|f| f == CLEANUP) {
        finalizers.push(CLEANUP.into());
        set(v, "metadata.finalizers", finalizers);
    }
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

fn storage_version(v: &Value) -> Vec<Value> {
    list(v, "spec.versions").iter().filter(|x| x["storage"] == true).map(|x| text(x, "name").into()).collect()
}
