//! Types of the core group, other than Pods and Services.

use skiff_json::{Map, json};

use super::fields::FieldsExt;
use super::{pod, services};

/// Octal 0644.
const FILE_MODE: i64 = 420;
const HOUR_SECONDS: i64 = 3600;

pub fn of_type(name: &str, map: &mut Map) {
    match name {
        "Pod" => pod::pod(map),
        "PodStatus" => pod::status(map),
        "PodSpec" => pod::spec(map),
        "Volume" => pod::volume(map),
        "Container" | "EphemeralContainer" => pod::container(map),
        "Probe" => pod::probe(map),
        "HTTPGetAction" => pod::http_get(map),
        "ObjectFieldSelector" => map.set_zero("apiVersion", "v1"),
        "HostPathVolumeSource" => map.set_nil("type", ""),
        "SecretVolumeSource" | "ConfigMapVolumeSource" | "DownwardAPIVolumeSource" | "ProjectedVolumeSource" => map.set_nil("defaultMode", FILE_MODE),
        "ServiceAccountTokenProjection" => map.set_nil("expirationSeconds", HOUR_SECONDS),
        "Service" => services::service(map),
        "Endpoints" => services::endpoints(map),
        "ReplicationController" => replication_controller(map),
        "Secret" => map.set_zero("type", "Opaque"),
        "PersistentVolume" => persistent_volume(map),
        "PersistentVolumeClaim" => map.object_mut("status").set_zero("phase", "Pending"),
        "PersistentVolumeClaimSpec" => map.set_nil("volumeMode", "Filesystem"),
        "Namespace" => namespace(map),
        "NamespaceStatus" => map.set_zero("phase", "Active"),
        "NodeStatus" => {
            if let (true, Some(capacity)) = (map.is_nil("allocatable"), map.get("capacity")) {
                map.set_nil("allocatable", capacity.clone());
            }
        }
        "LimitRangeItem" => limit_range_item(map),
        _ => {}
    }
}

fn replication_controller(map: &mut Map) {
    let spec = map.object("spec");
    let template = spec.and_then(|s| s.object("template")).and_then(|t| t.object("metadata"));
    let Some(labels) = template.and_then(|m| m.get("labels")).cloned() else { return };
    map.object_mut("spec").set_zero("selector", labels.clone());
    map.object_mut("metadata").set_zero("labels", labels);
}

fn persistent_volume(map: &mut Map) {
    map.object_mut("status").set_zero("phase", "Pending");
    let spec = map.object_mut("spec");
    spec.set_zero("persistentVolumeReclaimPolicy", "Retain");
    spec.set_nil("volumeMode", "Filesystem");
}

/// Every namespace carries its name as a label. It has none yet while the name is to be generated.
fn namespace(map: &mut Map) {
    let metadata = map.object_mut("metadata");
    let name = metadata.text("name").to_owned();
    if !name.is_empty() {
        let labels = metadata.object_mut("labels");
        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    }
}

/// Containers: limits fall back to the maximum, requests to the limits, then to the minimum.
fn limit_range_item(map: &mut Map) {
    if map.text("type") != "Container" {
        return;
    }
    fill(map, "default", "max");
    fill(map, "defaultRequest", "default");
    fill(map, "defaultRequest", "min");
}

fn fill(map: &mut Map, target: &str, source: &str) {
    let source = map.object(source).cloned().unwrap_or_default();
    let target = map.object_mut(target);
    for (resource, amount) in source {
        target.entry(resource).or_insert(amount);
    }
}
