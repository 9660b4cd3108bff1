//! What the flags mean: parsed, completed, checked against each other.
use crate::admin::{Traces, absolute};
use crate::cli::ServerArgs;
use crate::facts::Facts;
use crate::node::settings::{NodeSettings, address};
use crate::server::outside::Outside;
use anyhow::{Context, bail};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

pub struct Settings {
    pub listen: SocketAddr,
    pub advertise: IpAddr,
    pub san: Vec<String>,
    pub pods: Vec<IpNet>,
    pub services: Vec<IpNet>,
    pub node_ports: (u16, u16),
    /// Where the Service of DNS is made; one that is there already keeps its address.
    pub dns: IpAddr,
    pub domain: String,
    pub data: PathBuf,
    pub run: PathBuf,
    pub kubeconfig: PathBuf,
    pub kubeconfig_mode: u32,
    pub manifests: PathBuf,
    pub node: Option<NodeSettings>,
    /// How many requests of one seat are served at once.
    pub seats: u64,
    pub audit: Option<skiff_audit::Setup>,
    pub controllers: bool,
    pub scheduler: bool,
    pub outside: Outside,
    /// What the command line says, as it is shown.
    pub flags: BTreeMap<String, String>,
}

impl Settings {
    pub fn of(a: ServerArgs) -> anyhow::Result<Self> {
        let mode = u32::from_str_radix(&a.write_kubeconfig_mode, 8).ok().filter(|m| *m <= 0o777);
        let mode = mode.with_context(|| format!("--write-kubeconfig-mode {:?} is no octal file mode", a.write_kubeconfig_mode))?;
        let address = address(&a.node);
        let dns = match a.cluster_dns {
            Some(ip) => ip,
            None => nth(a.service_cidr.first().context("--service-cidr is empty")?, 10)?,
        };
        if !a.service_cidr.iter().any(|n| n.contains(&dns)) {
            bail!("--cluster-dns {dns} lies outside of --service-cidr");
        }
        for (pods, services) in a.cluster_cidr.iter().flat_map(|p| a.service_cidr.iter().map(move |s| (p, s))) {
            if pods.contains(services) || services.contains(pods) {
                bail!("--cluster-cidr {pods} and --service-cidr {services} overlap");
            }
        }
        let seats = a.max_requests_inflight.saturating_add(a.max_mutating_requests_inflight);
        if seats == 0 {
            bail!("--max-requests-inflight and --max-mutating-requests-inflight leave nothing to be served");
        }
        let outside = Outside::of(&a)?;
        let node = if a.disable_agent { None } else { Some(NodeSettings::of(&a.node, &a.places, a.bind_address)?) };
        Ok(Self {
            listen: SocketAddr::new(a.bind_address, a.https_listen_port),
            advertise: a.advertise_address.unwrap_or(address),
            san: a.tls_san,
            node_ports: ports(&a.service_node_port_range)?,
            pods: a.cluster_cidr,
            services: a.service_cidr,
            dns,
            domain: a.cluster_domain,
            kubeconfig: a.write_kubeconfig.unwrap_or_else(|| a.places.config_dir.join("skiff.yaml")),
            kubeconfig_mode: mode,
            manifests: a.manifests_dir.unwrap_or_else(|| a.places.data_dir.join("server/manifests")),
            data: a.places.data_dir,
            run: a.places.run_dir,
            node,
            seats,
            audit: a.audit.setup()?,
            controllers: !a.disable_controller_manager,
            scheduler: !a.disable_scheduler,
            outside,
            flags: BTreeMap::new(),
        })
    }
    /// The first address of the service network: the `kubernetes` Service.
    pub fn api_service(&self) -> anyhow::Result<IpAddr> {
        nth(self.services.first().context("--service-cidr is empty")?, 1)
    }
    /// What nodes must know; DNS is where the cluster's Service of it is.
    pub fn facts(&self, client_ca: &str, dns: IpAddr) -> Facts {
        Facts { pods: self.pods.clone(), services: self.services.clone(), dns, domain: self.domain.clone(), client_ca: client_ca.to_owned() }
    }
    /// What `skiff stop` must know.
    pub fn traces(&self, facts: &Facts) -> Traces {
        let node = self.node.as_ref().map(|n| n.traces(facts));
        let url = format!("https://{}", SocketAddr::new(self.advertise, self.listen.port()));
        let none = || Traces { pods: self.pods.clone(), services: self.services.clone(), data: absolute(&self.data), ..Traces::default() };
        Traces { kubeconfig: absolute(&self.kubeconfig), url, ..node.unwrap_or_else(none) }
    }
    /// The service account tokens' issuer.
    pub fn issuer(&self) -> String {
        format!("https://kubernetes.default.svc.{}", self.domain)
    }
}

fn ports(range: &str) -> anyhow::Result<(u16, u16)> {
    let parsed = range.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed.filter(|(a, b)| a <= b && *a > 0).with_context(|| format!("--service-node-port-range {range:?} is not of the form 30000-32767"))
}

/// The n-th address of a network.
fn nth(net: &IpNet, n: u32) -> anyhow::Result<IpAddr> {
    let ip = match net.network() {
        IpAddr::V4(a) => IpAddr::from((u32::from(a) + n).to_be_bytes()),
        IpAddr::V6(a) => IpAddr::from((u128::from(a) + n as u128).to_be_bytes()),
    };
    if net.contains(&ip) { Ok(ip) } else { bail!("--service-cidr {net} is too small") }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn ranges_and_addresses() {
        assert_eq!(ports("1-2").unwrap(), (1, 2));
        for bad in ["", "2-1", "a-b", "0-5", "1-70000"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
        assert_eq!(nth(&"10.43.0.0/16".parse().unwrap(), 10).unwrap().to_string(), "10.43.0.10");
        assert!(nth(&"10.43.0.0/30".parse().unwrap(), 10).is_err());
    }
}
