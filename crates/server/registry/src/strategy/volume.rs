//! Volumes and claims start out pending.
use super::Prepare;
use crate::value::{at, remove, set, text};
use skiff_json::{Value, json};

pub fn prepare_claim(v: &mut Value, _: &Prepare<'_>) {
    set(v, "status", json!({"phase": "Pending"}));
    settle_data_source(v, false);
}

pub fn update_claim(v: &mut Value, old: &Value, p: &Prepare<'_>) {
    if p.role.is_none() {
        settle_data_source(v, at(old, "spec.dataSource").is_some() || at(old, "spec.dataSourceRef").is_some());
    }
}

/// Sources in other namespaces are switched off. `dataSource` alone names claims and snapshots only; whatever else it says
/// is dropped, unless the claim has a source already. Then each of the two fields is filled from the other.
fn settle_data_source(v: &mut Value, had: bool) {
    if !had && !text(v, "spec.dataSourceRef.namespace").is_empty() {
        remove(v, "spec.dataSourceRef");
    }
    let known = matches!(
        (text(v, "spec.dataSource.apiGroup"), text(v, "spec.dataSource.kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    );
    if !had && !known && at(v, "spec.dataSourceRef").is_none() {
        remove(v, "spec.dataSource");
    }
    match (at(v, "spec.dataSource").cloned(), at(v, "spec.dataSourceRef").cloned()) {
        (Some(s), None) => set(v, "spec.dataSourceRef", s),
        (None, Some(r)) if text(&r, "namespace").is_empty() => set(v, "spec.dataSource", r),
        _ => {}
    }
}

pub fn prepare_volume(v: &mut Value, p: &Prepare<'_>) {
    remove(v, "status");
    set(v, "status", json!({"phase": "Pending", "lastPhaseTransitionTime": p.now.to_string()}));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_claims() {
        let volume = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        let other = json!({"apiGroup": "x", "kind": "Y", "name": "a"});
        for (spec, had, want) in [
            (json!({"dataSource": volume}), false, json!({"dataSource": volume, "dataSourceRef": volume})),
            (json!({"dataSource": other}), false, json!({})),
            (json!({"dataSource": other}), true, json!({"dataSource": other, "dataSourceRef": other})),
            (json!({"dataSourceRef": other}), false, json!({"dataSource": other, "dataSourceRef": other})),
            (json!({"dataSourceRef": {"kind": "Y", "name": "a", "namespace": "n"}}), false, json!({})),
        ] {
            let mut v = json!({"spec": spec});
            settle_data_source(&mut v, had);
            assert_eq!(v["spec"], want);
        }
    }
}
