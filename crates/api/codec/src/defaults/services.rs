//! Services and Endpoints.

use skiff_json::{Map, Value, json};

use super::fields::FieldsExt;

const AFFINITY_SECONDS: i64 = 10_800;

pub fn service(map: &mut Map) {
    let spec = map.object_mut("spec");
    spec.set_zero("sessionAffinity", "None");
    match spec.text("sessionAffinity") {
        "None" => {
            spec.shift_remove("sessionAffinityConfig");
        }
        "ClientIP" => client_ip(spec),
        _ => {}
    }
    spec.set_zero("type", "ClusterIP");
    spec.objects_mut("ports").into_iter().for_each(port);
    if is_external(spec) {
        spec.set_zero("externalTrafficPolicy", "Cluster");
    }
    if matches!(spec.text("type"), "NodePort" | "LoadBalancer" | "ClusterIP") {
        spec.set_nil("internalTrafficPolicy", "Cluster");
    }
    if spec.text("type") == "LoadBalancer" {
        spec.set_nil("allocateLoadBalancerNodePorts", true);
        balancer_modes(map);
    }
}

fn client_ip(spec: &mut Map) {
    let config = spec.object("sessionAffinityConfig").and_then(|c| c.object("clientIP"));
    if config.is_none_or(|c| c.is_nil("timeoutSeconds")) {
        let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
        spec.insert("sessionAffinityConfig".to_owned(), config);
    }
}

fn port(port: &mut Map) {
    port.set_zero("protocol", "TCP");
    if port.is_zero("targetPort") {
        let number = port.get("port").cloned().unwrap_or(json!(0));
        port.insert("targetPort".to_owned(), number);
    }
}

fn is_external(spec: &Map) -> bool {
    match spec.text("type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !spec.is_zero("externalIPs"),
        _ => false,
    }
}

fn balancer_modes(map: &mut Map) {
    let Some(Value::Object(status)) = map.get_mut("status") else { return };
    let Some(Value::Object(balancer)) = status.get_mut("loadBalancer") else { return };
    for ingress in balancer.objects_mut("ingress") {
        if !ingress.is_zero("ip") {
            ingress.set_nil("ipMode", "VIP");
        }
    }
}

pub fn endpoints(map: &mut Map) {
    for subset in map.objects_mut("subsets") {
        for port in subset.objects_mut("ports") {
            port.set_zero("protocol", "TCP");
        }
    }
}
