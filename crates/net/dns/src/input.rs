//! What DNS needs of a Service and an EndpointSlice.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

#[derive(Debug, thiserror::Error)]
#[error("read a {kind}")]
pub struct InputError {
    kind: &'static str,
    #[source]
    source: skiff_json::Error,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsService {
    pub namespace: String,
    pub name: String,
    /// Empty when headless.
    pub cluster_ips: Vec<IpAddr>,
    /// The target of an ExternalName Service.
    pub external_name: Option<String>,
    pub ports: Vec<DnsPort>,
    pub publish_not_ready: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsPort {
    pub name: String,
    /// Lower case: tcp, udp, sctp.
    pub protocol: String,
    pub port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsSlice {
    pub namespace: String,
    pub name: String,
    pub service: String,
    pub ports: Vec<DnsPort>,
    pub endpoints: Vec<DnsEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsEndpoint {
    pub address: IpAddr,
    /// The pod's hostname, where its subdomain names the Service.
    pub hostname: Option<String>,
    pub ready: bool,
}

impl DnsEndpoint {
    /// The label below the Service: the hostname, or the address with dashes.
    pub fn label(&self) -> String {
        match &self.hostname {
            Some(name) => name.to_ascii_lowercase(),
            None => self.address.to_string().replace(['.', ':'], "-"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    metadata: RawMeta,
    #[serde(default)]
    spec: RawSpec,
    ports: Option<Vec<RawPort>>,
    endpoints: Option<Vec<RawEndpoint>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawMeta {
    namespace: String,
    name: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawSpec {
    r#type: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    external_name: String,
    ports: Option<Vec<RawPort>>,
    publish_not_ready_addresses: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawPort {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawEndpoint {
    addresses: Vec<String>,
    hostname: Option<String>,
    conditions: RawConditions,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawConditions {
    ready: Option<bool>,
}

fn parse(bytes: &[u8], kind: &'static str) -> Result<Raw, InputError> {
    skiff_json::from_slice(bytes).map_err(|source| InputError { kind, source })
}

fn ports(raw: Option<Vec<RawPort>>) -> Vec<DnsPort> {
    let port = |p: RawPort| {
        let protocol = p.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
        Some(DnsPort { name: p.name.unwrap_or_default().to_ascii_lowercase(), protocol, port: p.port? })
    };
    raw.unwrap_or_default().into_iter().filter_map(port).collect()
}

impl DnsService {
    pub fn from_json(bytes: &[u8]) -> Result<Self, InputError> {
        let Raw { metadata, spec, .. } = parse(bytes, "Service")?;
        let texts = spec.cluster_ips.filter(|ips| !ips.is_empty()).unwrap_or_else(|| vec![spec.cluster_ip]);
        let external = spec.r#type == "ExternalName" && !spec.external_name.is_empty();
        Ok(Self {
            namespace: metadata.namespace,
            name: metadata.name,
            cluster_ips: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            external_name: external.then_some(spec.external_name),
            ports: ports(spec.ports),
            publish_not_ready: spec.publish_not_ready_addresses,
        })
    }
}

impl DnsSlice {
    /// None when it belongs to no Service.
    pub fn from_json(bytes: &[u8]) -> Result<Option<Self>, InputError> {
        let raw = parse(bytes, "EndpointSlice")?;
        let Some(service) = raw.metadata.labels.and_then(|mut l| l.remove("kubernetes.io/service-name")) else {
            return Ok(None);
        };
        let endpoint = |e: RawEndpoint| {
            let address = e.addresses.first()?.parse().ok()?;
            Some(DnsEndpoint { address, hostname: e.hostname.filter(|h| !h.is_empty()), ready: e.conditions.ready.unwrap_or(true) })
        };
        Ok(Some(Self {
            namespace: raw.metadata.namespace,
            name: raw.metadata.name,
            service,
            ports: ports(raw.ports),
            endpoints: raw.endpoints.unwrap_or_default().into_iter().filter_map(endpoint).collect(),
        }))
    }
}
