//! Volumes, claims, classes, CSI.
use super::{Columns, cells::*};
use crate::value::{at, flag, list, text};
use skiff_json::Value;

const MODES: [(&str, &str); 4] = [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];

fn modes(v: &Value, path: &str) -> String {
    let given = list(v, path);
    joined(MODES.iter().filter(|(long, _)| given.iter().any(|g| g == long)).map(|(_, short)| *short))
}
fn phase(v: &Value) -> &str {
    if at(v, "metadata.deletionTimestamp").is_some() { "Terminating" } else { text(v, "status.phase") }
}
/// The class, also where it is still an annotation.
fn class(v: &Value) -> &str {
    let old = v["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    old.unwrap_or_else(|| text(v, "spec.storageClassName"))
}

pub fn persistent_volume() -> Columns {
    Columns::of("Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode*", |v, now| {
        let claim = at(v, "spec.claimRef").map_or_else(String::new, |c| format!("{}/{}", text(c, "namespace"), text(c, "name")));
        vec![
            name(v),
            text_or(v, "spec.capacity.storage", "0").into(),
            modes(v, "spec.accessModes").into(),
            text(v, "spec.persistentVolumeReclaimPolicy").into(),
            phase(v).into(),
            claim.into(),
            class(v).into(),
            text_or(v, "spec.volumeAttributesClassName", "<unset>").into(),
            text(v, "status.reason").into(),
            age(v, now).into(),
            text_or(v, "spec.volumeMode", "<unset>").into(),
        ]
    })
}

pub fn persistent_volume_claim() -> Columns {
    Columns::of("Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode*", |v, now| {
        let bound = !text(v, "spec.volumeName").is_empty();
        let (capacity, access) = if bound { (text_or(v, "status.capacity.storage", "0"), modes(v, "status.accessModes")) } else { ("", String::new()) };
        vec![
            name(v),
            phase(v).into(),
            text(v, "spec.volumeName").into(),
            capacity.into(),
            access.into(),
            class(v).into(),
            text_or(v, "spec.volumeAttributesClassName", "<unset>").into(),
            age(v, now).into(),
            text_or(v, "spec.volumeMode", "<unset>").into(),
        ]
    })
}

pub fn storage_class() -> Columns {
    Columns::of("Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age", |v, now| {
        let notes = &v["metadata"]["annotations"];
        let default = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"].iter().any(|k| notes[*k] == "true");
        vec![
            format!("{}{}", text(v, "metadata.name"), if default { " (default)" } else { "" }).into(),
            text(v, "provisioner").into(),
            text_or(v, "reclaimPolicy", "Delete").into(),
            text_or(v, "volumeBindingMode", "Immediate").into(),
            flag(v, "allowVolumeExpansion").into(),
            age(v, now).into(),
        ]
    })
}

pub fn volume_attributes_class() -> Columns {
    Columns::of("Name|DriverName|Age", |v, now| vec![name(v), text(v, "driverName").into(), age(v, now).into()])
}

pub fn volume_attachment() -> Columns {
    Columns::of("Name|Attacher|PV|Node|Attached?|Age", |v, now| {
        vec![
            name(v),
            text(v, "spec.attacher").into(),
            text(v, "spec.source.persistentVolumeName").into(),
            text(v, "spec.nodeName").into(),
            flag(v, "status.attached").into(),
            age(v, now).into(),
        ]
    })
}

pub fn csi_driver() -> Columns {
    Columns::of("Name|AttachRequired?|PodInfoOnMount?|StorageCapacity?|TokenRequests|RequiresRepublish?|Modes|Age", |v, now| {
        let tokens = match at(v, "spec.tokenRequests") {
            Some(_) => joined(list(v, "spec.tokenRequests").iter().map(|t| text(t, "audience"))),
            None => "<unset>".into(),
        };
        let modes = joined(list(v, "spec.volumeLifecycleModes").iter().filter_map(Value::as_str));
        vec![
            name(v),
            at(v, "spec.attachRequired").and_then(Value::as_bool).unwrap_or(true).into(),
            flag(v, "spec.podInfoOnMount").into(),
            flag(v, "spec.storageCapacity").into(),
            tokens.into(),
            flag(v, "spec.requiresRepublish").into(),
            or(&modes, "<none>").into(),
            age(v, now).into(),
        ]
    })
}

pub fn csi_node() -> Columns {
    Columns::of("Name|Drivers#|Age", |v, now| vec![name(v), list(v, "spec.drivers").len().into(), age(v, now).into()])
}

pub fn csi_storage_capacity() -> Columns {
    Columns::name_and_creation()
}

pub fn storage_version_migration() -> Columns {
    Columns::of("Name|Resource|Status", |v, _| {
        let (resource, group) = (text(v, "spec.resource.resource"), text(v, "spec.resource.group"));
        let shown = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let status = ["Running", "Failed", "Succeeded"].into_iter().rev().find(|c| holds(v, c)).unwrap_or("Unknown");
        vec![name(v), shown.into(), status.into()]
    })
    .without_format()
}
