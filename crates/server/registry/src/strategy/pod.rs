//! Pods: phase and QoS class at creation, grace at deletion, which part each subresource may write.
use super::{Prepare, pod_resources};
use crate::{
    table::Role,
    value::{at, copy, list, remove, set, text},
};
use skiff_json::{Value, json};
use skiff_meta::Quantity;

pub fn prepare_create(v: &mut Value, p: &Prepare<'_>) {
    pod_resources::fill(v);
    let class = qos_class(v);
    set(v, "status", json!({"phase": "Pending", "qosClass": class}));
    if !list(v, "spec.schedulingGates").is_empty() {
        let waiting = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates", "lastProbeTime": null, "lastTransitionTime": p.now.to_string()}]);
        set(v, "status.conditions", waiting);
    }
}

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// AppArmor profiles of annotations become fields, where the container has none of its own and the pod says otherwise.
pub fn adopt_app_armor(v: &mut Value) -> Vec<String> {
    let windows = text(v, "spec.os.name") == "windows";
    let Some(notes) = at(v, "metadata.annotations").and_then(Value::as_object).filter(|m| !windows && m.keys().any(|k| k.starts_with(APP_ARMOR))).cloned()
    else {
        return Vec::new();
    };
    let of_pod = at(v, "spec.securityContext.appArmorProfile").cloned();
    let mut told = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for c in v.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut).into_iter().flatten() {
            let key = format!("{APP_ARMOR}{}", text(c, "name"));
            let Some(note) = notes.get(&key).and_then(Value::as_str).filter(|_| at(c, "securityContext.appArmorProfile").is_none()) else { continue };
            let profile = profile_of(note);
            if profile.is_some() && profile == of_pod {
                continue;
            }
            if let Some(p) = profile {
                set(c, "securityContext.appArmorProfile", p);
            }
            told.push(format!("metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"));
        }
    }
    told
}

/// The field that an annotation's value stands for, if that is one the rules accept.
fn profile_of(note: &str) -> Option<Value> {
    match note {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => note
            .strip_prefix("localhost/")
            .filter(|p| !p.is_empty() && p.trim() == *p && p.len() <= 4095)
            .map(|p| json!({"type": "Localhost", "localhostProfile": p})),
    }
}

/// What a pod is deleted with: its own grace unless the client names one; none where nothing runs.
pub fn grace(v: &Value, asked: Option<i64>) -> i64 {
    let period = asked.or_else(|| at(v, "spec.terminationGracePeriodSeconds").and_then(Value::as_i64)).unwrap_or(0);
    let ended = matches!(text(v, "status.phase"), "Failed" | "Succeeded");
    if text(v, "spec.nodeName").is_empty() || ended { 0 } else { period.max(0) }
}

pub fn prepare_update(v: &mut Value, old: &Value, p: &Prepare<'_>) {
    match p.role {
        Some(Role::Status) => update_status(v, old),
        Some(Role::EphemeralContainers) => {
            let added = at(v, "spec.ephemeralContainers").cloned();
            copy(v, old, "spec");
            copy(v, old, "status");
            match added {
                Some(a) => set(v, "spec.ephemeralContainers", a),
                None => {
                    remove(v, "spec.ephemeralContainers");
                }
            }
        }
        Some(Role::Resize) => resize(v, old),
        // The server itself sets the node and the condition.
        Some(Role::Binding) => {}
        _ => {
            copy(v, old, "status");
            pod_resources::keep(v, old);
        }
    }
}

fn update_status(v: &mut Value, old: &Value) {
    copy(v, old, "spec");
    copy(v, old, "metadata.ownerReferences");
    if text(v, "status.qosClass").is_empty() {
        copy(v, old, "status.qosClass");
    }
    if at(v, "status.observedGeneration").is_none() {
        copy(v, old, "status.observedGeneration");
    }
}

/// Only the resources and resize policies of containers move.
fn resize(v: &mut Value, old: &Value) {
    let mut spec = old["spec"].clone();
    for path in ["containers", "initContainers"] {
        for c in spec.get_mut(path).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(new) = list(v, &format!("spec.{path}")).iter().find(|n| n["name"] == c["name"]) {
                copy(c, new, "resources");
                copy(c, new, "resizePolicy");
            }
        }
    }
    copy(&mut spec, &v["spec"], "resources");
    set(v, "spec", spec);
    pod_resources::keep(v, old);
    pod_resources::fill(v);
    copy(v, old, "status");
    copy(v, old, "metadata.labels");
    copy(v, old, "metadata.annotations");
}

const QOS_RESOURCES: [&str; 2] = ["cpu", "memory"];

/// Guaranteed, Burstable or BestEffort, as the requests and limits of all containers say.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
pub fn qos_class(v: &Value) -> &'static str {
    let containers: Vec<&Value> = list(v, "spec.initContainers").iter().chain(list(v, "spec.containers")).collect();
    let pod_level = at(v, "spec.resources");
    let sources: Vec<&Value> = match pod_level {
        Some(r) if has_amount(r) => vec![r],
        _ => containers.iter().map(|c| &c["resources"]).collect(),
    };
    if !sources.iter().any(|r| has_amount(r)) {
        return "BestEffort";
    }
    if sources.iter().all(|r| QOS_RESOURCES.iter().all(|q| guaranteed(r, q))) { "Guaranteed" } else { "Burstable" }
}

fn amount(r: &Value, side: &str, name: &str) -> Option<Quantity> {
    let q: Quantity = r.get(side)?.get(name)?.as_str()?.parse().ok()?;
    (q > Quantity::ZERO).then_some(q)
}
fn has_amount(r: &Value) -> bool {
    QOS_RESOURCES.iter().any(|q| amount(r, "requests", q).is_some() || amount(r, "limits", q).is_some())
}
fn guaranteed(r: &Value, name: &str) -> bool {
    match (amount(r, "requests", name), amount(r, "limits", name)) {
        (Some(a), Some(b)) => a == b,
        (None, Some(_)) => r.get("requests").and_then(|m| m.get(name)).is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn qos() {
        for (resources, want) in [
            (json!([{}]), "BestEffort"),
            (json!([{"requests": {"cpu": "1"}}]), "Burstable"),
            (json!([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}]), "Guaranteed"),
            (json!([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, {}]), "Burstable"),
        ] {
            let containers: Vec<Value> = resources.as_array().unwrap().iter().map(|r| json!({"resources": r})).collect();
            assert_eq!(qos_class(&json!({"spec": {"containers": containers}})), want, "{resources}");
        }
    }
    #[test]
    fn app_armor_is_taken_over() {
        let pod = |note: &str, pod_profile: Value| json!({"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/c": note}}, "spec": {"securityContext": {"appArmorProfile": pod_profile}, "containers": [{"name": "c"}]}});
        let localhost = json!({"type": "Localhost", "localhostProfile": "x"});
        for (note, of_pod, want, told) in [
            ("localhost/x", Value::Null, localhost.clone(), 1),
            ("localhost/x", localhost.clone(), Value::Null, 0),
            ("unconfined", Value::Null, json!({"type": "Unconfined"}), 1),
            ("what", Value::Null, Value::Null, 1),
        ] {
            let mut v = pod(note, of_pod);
            assert_eq!(adopt_app_armor(&mut v).len(), told, "{note}");
            assert_eq!(v.pointer("/spec/containers/0/securityContext/appArmorProfile").cloned().unwrap_or_default(), want, "{note}");
        }
    }
    #[test]
    fn grace_is_none_where_nothing_runs() {
        let pod = |node: &str, phase: &str| json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}});
        assert_eq!(grace(&pod("n", "Running"), None), 30);
        assert_eq!(grace(&pod("n", "Running"), Some(5)), 5);
        assert_eq!(grace(&pod("", "Pending"), None), 0);
        assert_eq!(grace(&pod("n", "Failed"), None), 0);
    }
}
