//! What decides about the ruleset, read out of objects' bytes and nothing else kept of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

#[derive(Debug, thiserror::Error)]
#[error("read a {kind}")]
pub struct InputError {
    kind: &'static str,
    #[source]
    source: skiff_json::Error,
}

/// A Service that has addresses to proxy. Headless and ExternalName ones have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub cluster_ips: Vec<IpAddr>,
    pub external_ips: Vec<IpAddr>,
    /// Of status.loadBalancer.ingress, mode VIP.
    pub load_balancer_ips: Vec<IpAddr>,
    pub source_ranges: Vec<IpNet>,
    pub ports: Vec<ServicePort>,
    /// Seconds for which a client keeps its endpoint.
    pub affinity: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    pub health_check_node_port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    pub name: String,
    /// The IP protocol number: 6, 17 or 132.
    pub protocol: u8,
    pub port: u16,
    pub node_port: u16,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub namespace: String,
    pub name: String,
    pub service: String,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlicePort {
    pub name: String,
    pub protocol: u8,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: IpAddr,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<String>,
    pub zone_hints: Vec<String>,
    pub node_hints: Vec<String>,
}

/// This node, and what is alike for all Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    pub node: String,
    pub zone: Option<String>,
    pub node_ips: Vec<IpAddr>,
    /// Of the whole cluster: traffic from elsewhere to a cluster IP is masqueraded.
    pub pod_cidrs: Vec<IpNet>,
    pub service_cidrs: Vec<IpNet>,
    /// The table's name: one a cluster, so that several share a machine.
    pub table: String,
    /// One bit of the packet mark, e.g. 0x4000: masquerade this one.
    pub masquerade_bit: u32,
    /// Cluster IPs that this node answers itself, such as the DNS Service's: they stay out of the ruleset.
    pub local_ips: Vec<IpAddr>,
}

fn protocol(name: &str) -> u8 {
    match name {
        "UDP" => 17,
        "SCTP" => 132,
        _ => 6,
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Meta {
    namespace: String,
    name: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawService {
    metadata: Meta,
    #[serde(default)]
    spec: RawServiceSpec,
    #[serde(default)]
    status: RawStatus,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawServiceSpec {
    r#type: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    load_balancer_source_ranges: Option<Vec<String>>,
    ports: Option<Vec<RawPort>>,
    session_affinity: String,
    session_affinity_config: Option<RawAffinity>,
    internal_traffic_policy: Option<String>,
    external_traffic_policy: Option<String>,
    health_check_node_port: u16,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawPort {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<u16>,
    node_port: u16,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawAffinity {
    #[serde(rename = "clientIP")]
    client_ip: Option<RawClientIp>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawClientIp {
    timeout_seconds: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawStatus {
    load_balancer: RawBalancer,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawBalancer {
    ingress: Option<Vec<RawIngress>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawIngress {
    ip: Option<String>,
    ip_mode: Option<String>,
}

fn parse_all<T: std::str::FromStr>(texts: Option<Vec<String>>) -> Vec<T> {
    texts.unwrap_or_default().iter().filter_map(|text| text.trim().parse().ok()).collect()
}

impl Service {
    /// `None` when there is nothing to proxy: headless, ExternalName, or handed to another proxy by its label.
    pub fn from_json(bytes: &[u8]) -> Result<Option<Self>, InputError> {
        let raw: RawService = skiff_json::from_slice(bytes).map_err(|source| InputError { kind: "Service", source })?;
        let labels = raw.metadata.labels.unwrap_or_default();
        let spec = raw.spec;
        if spec.r#type == "ExternalName" || labels.contains_key("service.kubernetes.io/service-proxy-name") {
            return Ok(None);
        }
        let texts = spec.cluster_ips.filter(|ips| !ips.is_empty()).unwrap_or_else(|| vec![spec.cluster_ip.clone()]);
        let cluster_ips: Vec<IpAddr> = parse_all(Some(texts));
        if cluster_ips.is_empty() {
            return Ok(None);
        }
        let timeout = spec.session_affinity_config.and_then(|c| c.client_ip).and_then(|c| c.timeout_seconds);
        let ports = spec.ports.unwrap_or_default().into_iter().filter_map(|port| {
            let number = port.port?;
            let protocol = protocol(port.protocol.as_deref().unwrap_or("TCP"));
            Some(ServicePort { name: port.name.unwrap_or_default(), protocol, port: number, node_port: port.node_port })
        });
        let vips = raw.status.load_balancer.ingress.unwrap_or_default().into_iter();
        let vips = vips.filter(|i| i.ip_mode.as_deref() != Some("Proxy")).filter_map(|i| i.ip?.parse().ok());
        let external = matches!(spec.r#type.as_str(), "NodePort" | "LoadBalancer") || spec.external_ips.is_some();
        Ok(Some(Self {
            load_balancer_ips: if spec.r#type == "LoadBalancer" { vips.collect() } else { Vec::new() },
            ports: ports.collect(),
            affinity: (spec.session_affinity == "ClientIP").then(|| timeout.unwrap_or(10_800)),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: external && spec.external_traffic_policy.as_deref() == Some("Local"),
            health_check_node_port: spec.health_check_node_port,
            external_ips: parse_all(spec.external_ips),
            source_ranges: parse_all(spec.load_balancer_source_ranges),
            namespace: raw.metadata.namespace,
            name: raw.metadata.name,
            cluster_ips,
        }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSlice {
    metadata: Meta,
    #[serde(default)]
    ports: Option<Vec<RawPort>>,
    #[serde(default)]
    endpoints: Option<Vec<RawEndpoint>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawEndpoint {
    addresses: Vec<String>,
    conditions: RawConditions,
    node_name: Option<String>,
    hints: Option<RawHints>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawHints {
    for_zones: Option<Vec<RawHint>>,
    for_nodes: Option<Vec<RawHint>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawHint {
    name: String,
}

impl Slice {
    /// `None` when the slice belongs to no Service, or holds names instead of addresses.
    pub fn from_json(bytes: &[u8]) -> Result<Option<Self>, InputError> {
        let raw: RawSlice = skiff_json::from_slice(bytes).map_err(|source| InputError { kind: "EndpointSlice", source })?;
        let Some(service) = raw.metadata.labels.and_then(|mut l| l.remove("kubernetes.io/service-name")) else {
            return Ok(None);
        };
        let ports = raw.ports.unwrap_or_default().into_iter().filter_map(|port| {
            let protocol = protocol(port.protocol.as_deref().unwrap_or("TCP"));
            Some(SlicePort { name: port.name.unwrap_or_default(), protocol, port: port.port? })
        });
        let names = |hints: Option<Vec<RawHint>>| hints.unwrap_or_default().into_iter().map(|h| h.name).collect();
        let endpoints = raw.endpoints.unwrap_or_default().into_iter().filter_map(|endpoint| {
            let hints = endpoint.hints.unwrap_or_default();
            Some(Endpoint {
                address: endpoint.addresses.first()?.parse().ok()?,
                ready: endpoint.conditions.ready.unwrap_or(true),
                serving: endpoint.conditions.serving.unwrap_or(true),
                terminating: endpoint.conditions.terminating.unwrap_or(false),
                node: endpoint.node_name,
                zone_hints: names(hints.for_zones),
                node_hints: names(hints.for_nodes),
            })
        });
        Ok(Some(Self { ports: ports.collect(), endpoints: endpoints.collect(), namespace: raw.metadata.namespace, name: raw.metadata.name, service }))
    }
}
