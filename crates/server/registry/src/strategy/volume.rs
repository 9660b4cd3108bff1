//! Volumes and claims start out pending.
use super::Prepare;
use crate::value::{at, remove, set};
use serde_json::{Value, json};

pub fn prepare_claim(v: &mut Value, _: &Prepare<'_>) {
    set(v, "status", json!({"phase": "Pending"}));
    share_data_source(v);
}

/// `dataSource` and `dataSourceRef` name the same thing; each is filled from the other where it can be.
fn share_data_source(v: &mut Value) {
    let (source, reference) = (at(v, "spec.dataSource").cloned(), at(v, "spec.dataSourceRef").cloned());
    match (source, reference) {
        (Some(s), None) => set(v, "spec.dataSourceRef", s),
        (None, Some(r)) if r["namespace"].as_str().unwrap_or_default().is_empty() => {
            let volume = r["kind"] == "PersistentVolumeClaim" && r["apiGroup"].as_str().unwrap_or_default().is_empty();
            let snapshot = r["kind"] == "VolumeSnapshot" && r["apiGroup"] == "snapshot.storage.k8s.io";
            if volume || snapshot {
                set(v, "spec.dataSource", r);
            }
        }
        _ => {}
    }
}

pub fn prepare_volume(v: &mut Value, p: &Prepare<'_>) {
    remove(v, "status");
    set(v, "status", json!({"phase": "Pending", "lastPhaseTransitionTime": p.now.to_string()}));
}
