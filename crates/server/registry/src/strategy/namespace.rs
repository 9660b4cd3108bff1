//! Namespaces: the `kubernetes` finalizer of the spec, the phase, the name label.
use super::Prepare;
use crate::{
    table::Role,
    value::{copy, list, set, text},
};
use skiff_json::{Value, json};

pub fn prepare_create(v: &mut Value, _: &Prepare<'_>) {
    set(v, "status", json!({"phase": "Active"}));
    if !list(v, "spec.finalizers").iter().any(|f| f == "kubernetes") {
        let mut all = list(v, "spec.finalizers").to_vec();
        all.push("kubernetes".into());
        set(v, "spec.finalizers", all);
    }
}

pub fn prepare_update(v: &mut Value, old: &Value, p: &Prepare<'_>) {
    if p.role != Some(Role::Finalize) {
        copy(v, old, "spec.finalizers");
    }
    if p.role != Some(Role::Status) {
        copy(v, old, "status");
    }
    let name = text(v, "metadata.name").to_owned();
    if !name.is_empty() {
        set_name_label(v, &name);
    }
}

/// Every namespace carries its name as a label, so that selectors can name it.
pub fn set_name_label(v: &mut Value, name: &str) {
    if let Some(labels) = crate::value::map_mut(v, "metadata.labels") {
        labels.insert("kubernetes.io/metadata.name", name.into());
    }
}

/// Whether nothing holds the namespace any more.
pub fn finalized(v: &Value) -> bool {
    list(v, "spec.finalizers").is_empty()
}
