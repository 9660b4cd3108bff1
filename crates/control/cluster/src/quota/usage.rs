//! How much one object uses of one resource name, pure.
use k8s_openapi::api::core::v1::{Container, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use skiff_json::Value;
use skiff_meta::{GroupVersionResource, Quantity};
use std::collections::BTreeMap;

/// Whether pods are what `resource` counts.
pub(crate) fn counts_pods(resource: &str) -> bool {
    let compute = resource.strip_prefix("requests.").or_else(|| resource.strip_prefix("limits.")).unwrap_or(resource);
    matches!(resource, "pods" | "count/pods")
        || matches!(compute, "cpu" | "memory" | "ephemeral-storage")
        || compute.starts_with("hugepages-")
        || (resource.starts_with("requests.") && compute.contains('/'))
}

fn over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

fn best_effort(pod: &Pod) -> bool {
    let none = |m: &Option<BTreeMap<String, Wire>>| m.as_ref().is_none_or(|m| !m.keys().any(|k| k == "cpu" || k == "memory"));
    let containers = pod.spec.iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
    containers.filter_map(|c| c.resources.as_ref()).all(|r| none(&r.requests) && none(&r.limits))
}

/// Whether the quota's scopes and scope selector take the pod in.
pub(crate) fn in_scope(quota: &ResourceQuota, pod: &Pod) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let class = pod.spec.as_ref().and_then(|s| s.priority_class_name.clone()).unwrap_or_default();
    let terminating = pod.spec.as_ref().is_some_and(|s| s.active_deadline_seconds.is_some());
    let has = |scope: &str| match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(pod),
        "NotBestEffort" => !best_effort(pod),
        "PriorityClass" => !class.is_empty(),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    };
    let plain = spec.scopes.iter().flatten().all(|s| has(s));
    let selected = spec.scope_selector.iter().flat_map(|s| s.match_expressions.iter().flatten()).all(|e| match (e.scope_name.as_str(), e.operator.as_str()) {
        ("PriorityClass", "In") => e.values.iter().flatten().any(|v| *v == class),
        ("PriorityClass", "NotIn") => !e.values.iter().flatten().any(|v| *v == class),
        (scope, "DoesNotExist") => !has(scope),
        (scope, _) => has(scope),
    });
    plain && selected
}

/// Whether the quota's scopes take in an object that is no pod. Claims alone have one, the class of their volume's
/// attributes; what has none is in no quota that names a scope.
pub(crate) fn object_in_scope(quota: &ResourceQuota, resource: &str, bytes: &[u8]) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let plain: Vec<&str> = spec.scopes.iter().flatten().map(String::as_str).collect();
    let selected: Vec<_> = spec.scope_selector.iter().flat_map(|s| s.match_expressions.iter().flatten()).collect();
    if plain.is_empty() && selected.is_empty() {
        return true;
    }
    if resource != "persistentvolumeclaims" {
        return false;
    }
    let Ok(claim) = skiff_json::from_slice::<Value>(bytes) else { return false };
    let places = ["/spec/volumeAttributesClassName", "/status/currentVolumeAttributesClassName", "/status/modifyVolumeStatus/targetVolumeAttributesClassName"];
    let classes: Vec<&str> = places.iter().filter_map(|p| claim.pointer(p)?.as_str()).filter(|c| !c.is_empty()).collect();
    let fits = |operator: &str, values: &[String]| match operator {
        "In" => classes.iter().any(|c| values.iter().any(|v| v == c)),
        "NotIn" => classes.is_empty() || classes.iter().any(|c| !values.iter().any(|v| v == c)),
        "DoesNotExist" => classes.is_empty(),
        _ => !classes.is_empty(),
    };
    let plainly = plain.iter().all(|s| *s == ATTRIBUTES && fits("Exists", &[]));
    plainly && selected.iter().all(|e| e.scope_name == ATTRIBUTES && fits(&e.operator, e.values.as_deref().unwrap_or_default()))
}

/// The one scope of claims.
const ATTRIBUTES: &str = "VolumeAttributesClass";

fn crosses_namespaces(pod: &Pod) -> bool {
    let a = pod.spec.as_ref().and_then(|s| s.affinity.as_ref());
    let v = a.and_then(|a| skiff_json::to_string(a).ok()).unwrap_or_default();
    v.contains("\"namespaces\"") || v.contains("\"namespaceSelector\"")
}

/// What the pod uses of `resource`; nothing once it is over.
pub(crate) fn of_pod(pod: &Pod, resource: &str) -> Quantity {
    if resource == "count/pods" {
        return Quantity::units(1);
    }
    if over(pod) {
        return Quantity::ZERO;
    }
    if resource == "pods" {
        return Quantity::units(1);
    }
    let (limits, name) = match (resource.strip_prefix("limits."), resource.strip_prefix("requests.")) {
        (Some(n), _) => (true, n),
        (_, Some(n)) => (false, n),
        _ => (false, resource),
    };
    let one = |c: &Container| {
        let r = c.resources.as_ref();
        let m = if limits { r.and_then(|r| r.limits.as_ref()) } else { r.and_then(|r| r.requests.as_ref()) };
        m.and_then(|m| m.get(name)).and_then(|q| q.0.parse::<Quantity>().ok()).unwrap_or_default()
    };
    let Some(spec) = &pod.spec else { return Quantity::ZERO };
    let mut total: Quantity = spec.containers.iter().map(one).sum();
    let (mut sidecars, mut init) = (Quantity::ZERO, Quantity::ZERO);
    for c in spec.init_containers.iter().flatten() {
        if c.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars + one(c);
            init = init.max(sidecars);
        } else {
            init = init.max(one(c) + sidecars);
        }
    }
    total = (total + sidecars).max(init);
    let overhead = spec.overhead.as_ref().and_then(|o| o.get(name)).and_then(|q| q.0.parse::<Quantity>().ok()).unwrap_or_default();
    total + overhead
}

/// A resource whose objects are counted or summed.
pub(crate) struct Counted {
    pub resource: GroupVersionResource,
    what: What,
}
enum What {
    Objects,
    Storage { class: Option<String> },
    ClassObjects { class: String },
    NodePorts,
    LoadBalancers,
}

impl Counted {
    pub fn of(&self, bytes: &[u8]) -> Quantity {
        if matches!(self.what, What::Objects) {
            return Quantity::units(1);
        }
        let Ok(v) = skiff_json::from_slice::<Value>(bytes) else { return Quantity::ZERO };
        let class = v["spec"]["storageClassName"].as_str().unwrap_or_default();
        let yes = |b: bool| if b { Quantity::units(1) } else { Quantity::ZERO };
        match &self.what {
            What::Objects => Quantity::units(1),
            What::ClassObjects { class: c } => yes(c == class),
            What::Storage { class: c } if c.as_deref().is_none_or(|c| c == class) => {
                v["spec"]["resources"]["requests"]["storage"].as_str().and_then(|q| q.parse().ok()).unwrap_or_default()
            }
            What::Storage { .. } => Quantity::ZERO,
            What::LoadBalancers => yes(v["spec"]["type"] == "LoadBalancer"),
            What::NodePorts => {
                let allocates = v["spec"]["type"] == "NodePort" || (v["spec"]["type"] == "LoadBalancer" && v["spec"]["allocateLoadBalancerNodePorts"] != false);
                Quantity::units(if allocates { v["spec"]["ports"].as_array().map_or(0, Vec::len) as i64 } else { 0 })
            }
        }
    }
}

/// What a quota's resource name counts, among the resources that are served.
pub(crate) fn counted(name: &str, served: &[(GroupVersionResource, bool)]) -> Option<Counted> {
    let core = |resource: &'static str, what| Some(Counted { resource: GroupVersionResource::new("", "v1", resource), what });
    const CLASS: &str = ".storageclass.storage.k8s.io/";
    if let Some((class, rest)) = name.split_once(CLASS) {
        let class = class.to_owned();
        return core("persistentvolumeclaims", if rest == "requests.storage" { What::Storage { class: Some(class) } } else { What::ClassObjects { class } });
    }
    match name {
        "requests.storage" => core("persistentvolumeclaims", What::Storage { class: None }),
        "services.nodeports" => core("services", What::NodePorts),
        "services.loadbalancers" => core("services", What::LoadBalancers),
        "configmaps" | "secrets" | "services" | "persistentvolumeclaims" | "replicationcontrollers" | "resourcequotas" => {
            Some(Counted { resource: GroupVersionResource::new("", "v1", name.to_owned()), what: What::Objects })
        }
        _ => {
            let (resource, group) = name.strip_prefix("count/")?.split_once('.').unwrap_or((name.strip_prefix("count/")?, ""));
            let found = served.iter().find(|(r, namespaced)| *namespaced && r.resource == resource && r.group == group)?;
            Some(Counted { resource: found.0.clone(), what: What::Objects })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn claims_by_the_class_of_their_attributes() {
        let gold = json!({"spec": {"volumeAttributesClassName": "gold"}});
        let turning = json!({"spec": {"volumeAttributesClassName": "gold"}, "status": {"currentVolumeAttributesClassName": "silver"}});
        let none = json!({"spec": {}});
        let selector = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "VolumeAttributesClass", "operator": operator, "values": values}]}});
        for (spec, resource, object, want) in [
            (json!({}), "persistentvolumeclaims", &none, true),
            (json!({"scopes": ["VolumeAttributesClass"]}), "persistentvolumeclaims", &gold, true),
            (json!({"scopes": ["VolumeAttributesClass"]}), "persistentvolumeclaims", &none, false),
            (json!({"scopes": ["BestEffort"]}), "persistentvolumeclaims", &gold, false),
            (selector("In", json!(["gold"])), "persistentvolumeclaims", &gold, true),
            (selector("In", json!(["gold"])), "persistentvolumeclaims", &none, false),
            (selector("In", json!(["silver"])), "persistentvolumeclaims", &turning, true),
            (selector("NotIn", json!(["gold"])), "persistentvolumeclaims", &gold, false),
            (selector("NotIn", json!(["gold"])), "persistentvolumeclaims", &turning, true),
            (selector("NotIn", json!(["gold"])), "persistentvolumeclaims", &none, true),
            (selector("DoesNotExist", json!([])), "persistentvolumeclaims", &none, true),
            (selector("Exists", json!([])), "persistentvolumeclaims", &none, false),
            (selector("Exists", json!([])), "configmaps", &gold, false),
        ] {
            let quota: ResourceQuota = skiff_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            assert_eq!(object_in_scope(&quota, resource, object.to_string().as_bytes()), want, "{spec} {object}");
        }
    }
}
