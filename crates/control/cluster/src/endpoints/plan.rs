//! From a service and its pods to addresses with ports, pure.
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// One port of the endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub name: String,
    pub protocol: String,
    pub port: i32,
    pub app_protocol: Option<String>,
}

/// One pod behind a service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Address {
    pub ip: String,
    pub hostname: Option<String>,
    pub node: Option<String>,
    pub pod: String,
    pub uid: String,
    /// What a load balancer looks at: ready, and not terminating, unless the service publishes all.
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub ports: Vec<Port>,
}

fn is_ready(pod: &Pod) -> bool {
    pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Addresses of one family (`IPv4` or `IPv6`) in the order of the pods' names.
pub(crate) fn addresses(service: &Service, pods: &[Pod], family: &str) -> Vec<Address> {
    let mut out: Vec<Address> = pods.iter().filter_map(|p| address(service, p, family)).collect();
    out.sort_by(|a, b| a.pod.cmp(&b.pod));
    out
}

fn address(service: &Service, pod: &Pod, family: &str) -> Option<Address> {
    let (status, spec) = (pod.status.as_ref()?, pod.spec.as_ref()?);
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let fits = |ip: &str| !ip.is_empty() && ip.contains(':') == (family == "IPv6");
    let listed = status.pod_ips.iter().flatten().map(|p| p.ip.as_str());
    let ip = listed.chain(status.pod_ip.as_deref()).find(|ip| fits(ip))?.to_owned();
    let svc = service.spec.as_ref()?;
    let (serving, terminating) = (is_ready(pod), pod.metadata.deletion_timestamp.is_some());
    let publishes_all = svc.publish_not_ready_addresses == Some(true);
    let named = spec.hostname.clone().filter(|h| !h.is_empty() && spec.subdomain == service.metadata.name && spec.subdomain.is_some());
    Some(Address {
        ip,
        hostname: named,
        node: spec.node_name.clone().filter(|n| !n.is_empty()),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ready: publishes_all || (serving && !terminating),
        serving,
        terminating,
        ports: ports(svc.ports.as_deref().unwrap_or_default(), pod),
    })
}

/// Target ports by number or by the name of a container's port; a name that the pod lacks gives no port.
fn ports(ports: &[ServicePort], pod: &Pod) -> Vec<Port> {
    let number = |p: &ServicePort| match &p.target_port {
        Some(IntOrString::Int(n)) if *n > 0 => Some(*n),
        Some(IntOrString::String(name)) => named_port(pod, name, p.protocol.as_deref().unwrap_or("TCP")),
        _ => Some(p.port),
    };
    let port = |p: &ServicePort| {
        Some(Port {
            name: p.name.clone().unwrap_or_default(),
            protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
            port: number(p)?,
            app_protocol: p.app_protocol.clone(),
        })
    };
    ports.iter().filter_map(port).collect()
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let all = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let mut found = all.filter(|p| p.name.as_deref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol);
    found.next().map(|p| p.container_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::{Value, json};
    fn pod(name: &str, ip: &str, ready: bool, extra: Value) -> Pod {
        let mut v = json!({"metadata": {"name": name, "uid": name}, "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}});
        for (k, x) in extra.as_object().unwrap() {
            v["metadata"][k] = x.clone();
        }
        skiff_json::from_value(v).unwrap()
    }
    #[test]
    fn ready_terminating_and_named_ports() {
        let service: Service =
            skiff_json::from_value(json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80, "targetPort": "http"}]}})).unwrap();
        let pods = [
            pod("b", "10.0.0.2", true, json!({})),
            pod("a", "10.0.0.1", false, json!({})),
            pod("c", "10.0.0.3", true, json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})),
            pod("d", "", true, json!({})),
        ];
        let got = addresses(&service, &pods, "IPv4");
        let flags: Vec<_> = got.iter().map(|a| (a.pod.as_str(), a.ready, a.serving, a.terminating)).collect();
        assert_eq!(flags, [("a", false, false, false), ("b", true, true, false), ("c", false, true, true)]);
        assert_eq!(got[0].ports[0].port, 8080);
        assert!(addresses(&service, &pods, "IPv6").is_empty());
    }
}
