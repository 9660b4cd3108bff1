//! Fields that 1.37 knows and has switched off: they are taken out before anything looks at them, unless the object has one
//! already. Which gates are off is the upstream release's default; there is no way to switch them here.
use super::Prepare;
use crate::value::{at, list, remove};
use skiff_json::Value;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Takes them out of the pod spec at `path`.
pub fn drop_of_pods(v: &mut Value, old: Option<&Value>, path: &str) {
    let had = |field: &str| old.is_some_and(|o| at(o, &format!("{path}.{field}")).is_some_and(|x| !x.is_null() && x.as_array().is_none_or(|a| !a.is_empty())));
    // GenericWorkload, EvictionRequestAPI.
    for field in ["schedulingGroup", "evictionResponders"] {
        if !had(field) {
            remove(v, &format!("{path}.{field}"));
        }
    }
    drop_stop_signals(v, old, path);
}

/// ContainerStopSignals.
fn drop_stop_signals(v: &mut Value, old: Option<&Value>, path: &str) {
    let signals = |o: &Value| CONTAINERS.iter().any(|c| list(o, &format!("{path}.{c}")).iter().any(|c| c.pointer("/lifecycle/stopSignal").is_some()));
    if old.is_some_and(signals) || !signals(v) {
        return;
    }
    let pointer = format!("/{}", path.replace('.', "/"));
    for kind in CONTAINERS {
        let Some(all) = v.pointer_mut(&format!("{pointer}/{kind}")).and_then(Value::as_array_mut) else { continue };
        for c in all.iter_mut().filter_map(Value::as_object_mut) {
            let Some(lifecycle) = c.get_mut("lifecycle").and_then(Value::as_object_mut) else { continue };
            if lifecycle.shift_remove("stopSignal").is_some() && lifecycle.is_empty() {
                c.shift_remove("lifecycle");
            }
        }
    }
}

/// Takes out what stands at `paths`, dotted, with `*` for the items of a list, unless the object had something there.
pub fn drop_paths(v: &mut Value, old: Option<&Value>, paths: &[&str]) {
    for path in paths {
        if !old.is_some_and(|o| has(o, path)) {
            drop_path(v, path);
        }
    }
}

fn has(v: &Value, path: &str) -> bool {
    match path.split_once('.') {
        _ if v.is_null() => false,
        Some(("*", rest)) => v.as_array().is_some_and(|a| a.iter().any(|v| has(v, rest))),
        Some((step, rest)) => v.get(step).is_some_and(|v| has(v, rest)),
        None => v.get(path).is_some_and(|v| !v.is_null()),
    }
}

fn drop_path(v: &mut Value, path: &str) {
    match path.split_once('.') {
        Some(("*", rest)) => v.as_array_mut().into_iter().flatten().for_each(|v| drop_path(v, rest)),
        Some((step, rest)) => {
            if let Some(v) = v.get_mut(step) {
                drop_path(v, rest);
            }
        }
        None => {
            v.as_object_mut().and_then(|m| m.shift_remove(path));
        }
    }
}

/// What each kind has switched off, for its row.
pub const POD: &[&str] = &[
    "spec.volumes.*.emptyDir.mode",
    "spec.initContainers.*.volumeMounts.*.bindMountOptions",
    "spec.containers.*.volumeMounts.*.bindMountOptions",
    "spec.containers.*.livenessProbe.httpGet.protocol",
    "spec.containers.*.readinessProbe.httpGet.protocol",
    "spec.containers.*.startupProbe.httpGet.protocol",
    "spec.containers.*.livenessProbe.grpc.mode",
    "spec.containers.*.readinessProbe.grpc.mode",
    "spec.containers.*.startupProbe.grpc.mode",
    "status.nodeAllocatableResourceClaimStatuses",
    "status.volumeHealth",
    "status.containerStatuses.*.volumeMounts.*.volumeStatus",
];
pub const NODE: &[&str] = &["spec.podPreemptionPolicy"];
pub const CLAIM: &[&str] = &["status.healthStatus"];
pub const CSI_NODE: &[&str] = &["status.storageHealth"];
pub const JOB: &[&str] = &["spec.scheduling"];
pub const CRON_JOB: &[&str] = &["spec.jobTemplate.spec.scheduling"];
pub const DEVICE_CLAIM: &[&str] = &[
    "spec.devices.requests.*.exactly.derivedAttributes",
    "spec.devices.requests.*.firstAvailable.*.derivedAttributes",
    "status.allocation.devices.results.*.skipNodeOperations",
];
pub const DEVICE_TEMPLATE: &[&str] =
    &["spec.spec.devices.requests.*.exactly.derivedAttributes", "spec.spec.devices.requests.*.firstAvailable.*.derivedAttributes"];
pub const SLICE: &[&str] = &["spec.partitionTypeAttribute", "spec.skipNodeOperations", "spec.devices.*.consumesCounters.*.compatibilityGroups"];

/// The status of a device goes when the device is given back.
pub fn update_device_claim(v: &mut Value, old: &Value, _: &Prepare<'_>) {
    let key = |d: &Value| ["driver", "pool", "device", "shareID"].map(|k| d.get(k).and_then(Value::as_str).unwrap_or_default().to_owned());
    let results = |v: &Value| list(v, "status.allocation.devices.results").iter().map(key).collect::<Vec<_>>();
    let (now, before) = (results(v), results(old));
    let Some(devices) = v.pointer_mut("/status/devices").and_then(Value::as_array_mut) else { return };
    devices.retain(|d| now.contains(&key(d)) || !before.contains(&key(d)));
    if devices.is_empty() {
        remove(v, "status.devices");
    }
}

/// DRAListTypeAttributes, DRANodeAllocatableResources.
pub fn prepare_slice(v: &mut Value, _: &Prepare<'_>) {
    drop_of_slices(v, &Value::Null);
}

pub fn update_slice(v: &mut Value, old: &Value, _: &Prepare<'_>) {
    drop_of_slices(v, old);
}

fn drop_of_slices(v: &mut Value, old: &Value) {
    const LISTS: [&str; 4] = ["ints", "bools", "strings", "versions"];
    let devices = list(old, "spec.devices");
    let attributes = |d: &Value| d.get("attributes").and_then(Value::as_object).is_some_and(|m| m.values().any(|a| LISTS.iter().any(|l| a.get(l).is_some())));
    let (lists, resources) = (devices.iter().any(attributes), devices.iter().any(|d| d.get("nodeAllocatableResources").is_some()));
    for d in v.pointer_mut("/spec/devices").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        if !resources {
            d.shift_remove("nodeAllocatableResources");
        }
        for a in
            d.get_mut("attributes").and_then(Value::as_object_mut).into_iter().flat_map(|m| m.values_mut()).filter_map(Value::as_object_mut).filter(|_| !lists)
        {
            LISTS.iter().for_each(|l| drop(a.shift_remove(l)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn paths_go_unless_they_were_there() {
        for (old, want) in
            [(json!({}), json!({"a": {"l": [{"y": 2}, {}]}})), (json!({"a": {"l": [{}, {"x": 0}]}}), json!({"a": {"l": [{"x": 1, "y": 2}, {}]}}))]
        {
            let mut v = json!({"a": {"l": [{"x": 1, "y": 2}, {}]}});
            drop_paths(&mut v, Some(&old), &["a.l.*.x"]);
            assert_eq!(v, want);
        }
    }

    #[test]
    fn what_is_off_goes_unless_it_was_there() {
        let pod = json!({"spec": {"schedulingGroup": {"podGroupName": "g"}, "evictionResponders": [{"name": "r"}], "containers": [{"name": "c", "lifecycle": {"stopSignal": "SIGHUP"}}, {"name": "d", "lifecycle": {"stopSignal": "SIGHUP", "preStop": {}}}]}});
        let mut new = pod.clone();
        drop_of_pods(&mut new, None, "spec");
        assert_eq!(new, json!({"spec": {"containers": [{"name": "c"}, {"name": "d", "lifecycle": {"preStop": {}}}]}}));
        let mut kept = pod.clone();
        drop_of_pods(&mut kept, Some(&pod), "spec");
        assert_eq!(kept, pod);
    }
}
