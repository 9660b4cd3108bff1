//! Services: what only one type of Service has goes when the type changes and nobody asked for another value.
//!
//! Addresses and node ports are the allocator's, beside the pipeline.
use super::Prepare;
use crate::value::{at, int, list, remove, same, set, text};
use skiff_json::Value;
use std::collections::HashSet;

pub fn prepare_update(v: &mut Value, old: &Value, p: &Prepare<'_>) {
    if p.role.is_some() {
        return;
    }
    let drops: [(&str, fn(&Value) -> bool); 4] = [
        ("spec.healthCheckNodePort", checks_health),
        ("spec.allocateLoadBalancerNodePorts", balances),
        ("spec.loadBalancerClass", balances),
        ("spec.externalTrafficPolicy", externally_accessible),
    ];
    for (field, has) in drops {
        if has(old) && !has(v) && same(at(old, field), at(v, field)) {
            remove(v, field);
        }
    }
    if has_address(old) && !has_address(v) {
        if ["clusterIP", "clusterIPs"].iter().all(|f| same(at(old, &format!("spec.{f}")), at(v, &format!("spec.{f}")))) {
            remove(v, "spec.clusterIP");
            remove(v, "spec.clusterIPs");
        }
        for field in ["spec.ipFamilies", "spec.ipFamilyPolicy"] {
            if same(at(old, field), at(v, field)) {
                remove(v, field);
            }
        }
    }
    if has_ports(old) && !has_ports(v) && node_ports(v).is_subset(&node_ports(old)) {
        for p in v.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            remove(p, "nodePort");
        }
    }
    if !balances(v) && at(v, "status.loadBalancer").is_some() {
        set(v, "status.loadBalancer", skiff_json::json!({}));
    }
}

fn has_address(v: &Value) -> bool {
    text(v, "spec.type") != "ExternalName"
}
fn has_ports(v: &Value) -> bool {
    matches!(text(v, "spec.type"), "NodePort" | "LoadBalancer")
}
fn node_ports(v: &Value) -> HashSet<i64> {
    list(v, "spec.ports").iter().map(|p| int(p, "nodePort")).filter(|n| *n != 0).collect()
}
fn balances(v: &Value) -> bool {
    text(v, "spec.type") == "LoadBalancer"
}
fn checks_health(v: &Value) -> bool {
    balances(v) && text(v, "spec.externalTrafficPolicy") == "Local"
}
fn externally_accessible(v: &Value) -> bool {
    match text(v, "spec.type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" | "" => !list(v, "spec.externalIPs").is_empty(),
        _ => false,
    }
}

/// Topology of endpoints is of v1beta1: v1 shows what was stored then, and takes no more.
pub fn prepare_endpoint_slice(v: &mut Value, _: &Prepare<'_>) {
    drop_topology(v, &[]);
}

/// Endpoints that stay as they were keep it, too. Of others it says at most which node they were on.
pub fn update_endpoint_slice(v: &mut Value, old: &Value, _: &Prepare<'_>) {
    if !same(at(v, "endpoints"), at(old, "endpoints")) {
        let known: Vec<String> = list(old, "endpoints").iter().filter_map(topology_node).collect();
        drop_topology(v, &known);
    }
}

/// The label by which topology named the node.
fn topology_node(endpoint: &Value) -> Option<String> {
    endpoint.get("deprecatedTopology")?.get("kubernetes.io/hostname")?.as_str().filter(|n| !n.is_empty()).map(str::to_owned)
}

fn drop_topology(v: &mut Value, known: &[String]) {
    for endpoint in v.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
        let node = topology_node(endpoint).filter(|n| known.contains(n) && skiff_meta::is_dns1123_subdomain(n).is_ok());
        if let Some(node) = node.filter(|_| at(endpoint, "nodeName").is_none()) {
            set(endpoint, "nodeName", node);
        }
        remove(endpoint, "deprecatedTopology");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn topology_is_not_taken_any_more() {
        let user = skiff_request::User::default();
        let p = Prepare { user: &user, now: skiff_meta::Timestamp(0), role: None };
        let old = json!({"endpoints": [{"addresses": ["10.0.0.1"], "deprecatedTopology": {"kubernetes.io/hostname": "n"}}]});
        let mut v = old.clone();
        update_endpoint_slice(&mut v, &old, &p);
        assert_eq!(v, old);
        v["endpoints"][0]["addresses"] = json!(["10.0.0.2"]);
        update_endpoint_slice(&mut v, &old, &p);
        assert_eq!(v, json!({"endpoints": [{"addresses": ["10.0.0.2"], "nodeName": "n"}]}));
        let mut v = json!({"endpoints": [{"deprecatedTopology": {"kubernetes.io/hostname": "other"}}]});
        update_endpoint_slice(&mut v, &old, &p);
        assert_eq!(v, json!({"endpoints": [{}]}));
    }
    #[test]
    fn another_type_loses_the_fields_of_the_first() {
        let user = skiff_request::User::default();
        let p = Prepare { user: &user, now: skiff_meta::Timestamp(0), role: None };
        let old = json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001, "allocateLoadBalancerNodePorts": true}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        let mut v = old.clone();
        v["spec"]["type"] = json!("ClusterIP");
        prepare_update(&mut v, &old, &p);
        assert_eq!(v, json!({"spec": {"type": "ClusterIP"}, "status": {"loadBalancer": {}}}));
        // What was changed in the same breath stays, for validation to judge.
        let mut v = old.clone();
        v["spec"]["type"] = json!("ClusterIP");
        v["spec"]["externalTrafficPolicy"] = json!("Cluster");
        prepare_update(&mut v, &old, &p);
        assert_eq!(v["spec"]["externalTrafficPolicy"], "Cluster");
    }
}
