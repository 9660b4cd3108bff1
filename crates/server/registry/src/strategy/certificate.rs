//! CertificateSigningRequests: who asks is recorded by the server, and each subresource writes its own part.
use super::Prepare;
use crate::{
    table::Role,
    value::{at, copy, list, remove, set},
};
use skiff_json::{Value, json};

pub fn prepare_create(v: &mut Value, p: &Prepare<'_>) {
    let Some(spec) = crate::value::map_mut(v, "spec") else { return };
    for key in ["username", "uid", "groups", "extra"] {
        spec.shift_remove(key);
    }
    spec.insert("username", p.user.name.clone().into());
    if !p.user.uid.is_empty() {
        spec.insert("uid", p.user.uid.clone().into());
    }
    if !p.user.groups.is_empty() {
        spec.insert("groups", p.user.groups.clone().into());
    }
    if !p.user.extra.is_empty() {
        spec.insert("extra", json!(p.user.extra));
    }
    remove(v, "status");
}

const DECISIONS: [&str; 3] = ["Approved", "Denied", "Failed"];

pub fn prepare_update(v: &mut Value, old: &Value, p: &Prepare<'_>) {
    copy(v, old, "spec");
    match p.role {
        Some(Role::Approval) => {
            copy(v, old, "status.certificate");
            stamp_conditions(v, old, p);
        }
        Some(Role::Status) => {
            keep_decisions(v, old);
            stamp_conditions(v, old, p);
        }
        _ => copy(v, old, "status"),
    }
}

/// The status subresource cannot approve or deny.
fn keep_decisions(v: &mut Value, old: &Value) {
    let decided = |c: &&Value| DECISIONS[..2].iter().any(|d| c["type"] == **d);
    let mut all: Vec<Value> = list(old, "status.conditions").iter().filter(decided).cloned().collect();
    all.extend(list(v, "status.conditions").iter().filter(|c| !decided(c)).cloned());
    if !all.is_empty() {
        set(v, "status.conditions", all);
    }
}

fn stamp_conditions(v: &mut Value, old: &Value, p: &Prepare<'_>) {
    let Some(mut all) = at(v, "status.conditions").and_then(Value::as_array).cloned() else { return };
    let now = p.now.to_string();
    for c in &mut all {
        if c["lastUpdateTime"].is_null() {
            c["lastUpdateTime"] = now.clone().into();
        }
        if c["lastTransitionTime"].is_null() {
            let before = list(old, "status.conditions").iter().find(|o| o["type"] == c["type"] && o["status"] == c["status"]);
            c["lastTransitionTime"] = before.map(|o| o["lastTransitionTime"].clone()).filter(|t| !t.is_null()).unwrap_or_else(|| now.clone().into());
        }
    }
    set(v, "status.conditions", all);
}
