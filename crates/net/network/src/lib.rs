//! A node's network at work: loops that keep the machine in step with the cluster's objects.
//!
//! [`NodeNetwork`] follows Nodes (the ways to their pods), Services and EndpointSlices (the kernel's rules, and DNS). What is
//! decided is decided elsewhere, without a cluster: `skiff-podnet`, `skiff-rules` and `skiff-dns`. How each part fares is
//! told to the node agent by its [`NetworkHealth`].

mod names;
mod nodes;
mod services;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use skiff_dns::Zone;
use skiff_informer::Informers;
use skiff_kubelet::NetworkHealth;
use skiff_podnet::{Config, Overlay, PodNet, PodNetError};
use skiff_rules::{NodeFacts, ServiceProxy};
use std::net::IpAddr;
use std::path::PathBuf;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// UDP, between nodes.
pub const VXLAN_PORT: u16 = 8472;
const OVERLAY: Overlay = Overlay::Vxlan { vni: 1, port: VXLAN_PORT };
/// The packet mark that asks for masquerading.
pub const MASQUERADE: u32 = 0x4000;

#[derive(Debug, Error)]
pub enum NetworkError {
    #[error("open the pod network")]
    PodNet(#[from] PodNetError),
    #[error("the cluster's domain {0:?} is no DNS name")]
    Domain(String),
    #[error("take the rules of Services away: {0}")]
    Rules(String),
}

/// Which node of which cluster this is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Begins the names of links and tables, so that several nodes fit on one machine.
    pub prefix: String,
    pub node: String,
    /// None is enough to take a network away.
    pub address: Option<IpAddr>,
    /// Addresses of the cluster's pods.
    pub pods: Vec<IpNet>,
    /// Addresses of Services.
    pub services: Vec<IpNet>,
    /// The Service address where names are asked for.
    pub dns: Option<IpAddr>,
    /// Where it is kept which pod has which address.
    pub state: PathBuf,
}

pub struct NodeNetwork {
    settings: Settings,
    pods: PodNet,
}

impl NodeNetwork {
    /// Nothing of the machine changes yet.
    pub fn open(settings: Settings) -> Result<Self, NetworkError> {
        let pods = PodNet::open(Config {
            prefix: settings.prefix.clone(),
            node: settings.node.clone(),
            node_ips: settings.address.into_iter().collect(),
            cluster_pod_cidrs: settings.pods.clone(),
            service_cidrs: settings.services.clone(),
            dns_ips: settings.dns.into_iter().collect(),
            mtu: None,
            overlay: OVERLAY,
            state: settings.state.clone(),
        })?;
        Ok(Self { settings, pods })
    }

    /// Gives pods their links.
    pub fn pods(&self) -> &PodNet {
        &self.pods
    }

    fn facts(&self) -> NodeFacts {
        let s = &self.settings;
        NodeFacts {
            node: s.node.clone(),
            zone: None,
            node_ips: s.address.into_iter().collect(),
            pod_cidrs: s.pods.clone(),
            service_cidrs: s.services.clone(),
            table: format!("{}-services", s.prefix),
            masquerade_bit: MASQUERADE,
            local_ips: s.dns.into_iter().collect(),
        }
    }

    /// Starts the pod network once the node has its part of it, then DNS for this domain and the rules of Services.
    pub fn start(&self, domain: &str, informers: &Informers, tasks: &TaskTracker, stop: &CancellationToken) -> Result<NetworkHealth, NetworkError> {
        let health = NetworkHealth::default();
        let zone = Zone::new(domain).ok_or_else(|| NetworkError::Domain(domain.to_owned()))?;
        names::follow(&zone, informers);
        let (up, mut is_up) = watch::channel(false);
        let follow = nodes::follow(informers.of::<Node>(), self.settings.node.clone(), self.pods.clone(), up, health.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(follow));
        if let Some(dns) = self.settings.dns {
            let (mut is_up, health) = (is_up.clone(), health.clone());
            tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
                if is_up.wait_for(|up| *up).await.is_ok() {
                    names::serve(zone, dns, health).await;
                }
            }));
        }
        let (facts, informers, told) = (self.facts(), informers.clone(), health.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            if is_up.wait_for(|up| *up).await.is_ok() {
                services::follow(facts, informers, told).await;
            }
        }));
        Ok(health)
    }

    /// Takes links, addresses and rules off the machine. Blocking.
    pub fn clean_up(&self) -> Result<(), NetworkError> {
        self.pods.cleanup()?;
        let rules = ServiceProxy::new(self.facts()).and_then(|mut p| p.cleanup());
        rules.map_err(|e| NetworkError::Rules(chain(&e)))
    }
}

/// The text with its causes, on one line.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        text += &format!(": {c}");
        cause = c.source();
    }
    text
}
