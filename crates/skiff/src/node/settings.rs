//! What the flags of a node mean, the same for a server's own node and for an agent's.
use crate::cli::{NodeArgs, Places};
use crate::facts::Facts;
use anyhow::Context;
use skiff_network::{NodeNetwork, Settings};
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

pub struct NodeSettings {
    pub name: String,
    pub address: IpAddr,
    /// Where the node agent's server listens, with `port`.
    pub listen: IpAddr,
    pub labels: Vec<(String, String)>,
    pub taints: Vec<String>,
    pub max_pods: u32,
    pub port: u16,
    pub registries: PathBuf,
    pub images: PathBuf,
    pub logs: PathBuf,
    pub cgroup: String,
    pub storage: PathBuf,
    pub prefix: String,
    pub data: PathBuf,
    pub run: PathBuf,
}

impl NodeSettings {
    pub fn of(n: &NodeArgs, places: &Places, listen: IpAddr) -> anyhow::Result<Self> {
        let label = |l: &String| l.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).with_context(|| format!("--node-label {l:?} is not of the form key=value"));
        let host = || rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let name = n.node_name.clone().unwrap_or_else(host);
        skiff_meta::is_dns1123_subdomain(&name).map_err(|e| anyhow::anyhow!("the node's name {name:?} is of no use: {}", e[0]))?;
        Ok(Self {
            name,
            address: address(n),
            listen,
            labels: n.node_label.iter().map(label).collect::<anyhow::Result<_>>()?,
            taints: n.node_taint.clone(),
            max_pods: n.max_pods,
            port: n.kubelet_port,
            registries: n.private_registry.clone().unwrap_or_else(|| places.config_dir.join("registries.yaml")),
            images: n.images_dir.clone().unwrap_or_else(|| places.data_dir.join("agent/images")),
            logs: n.pod_logs_dir.clone(),
            cgroup: n.cgroup_root.clone(),
            storage: n.default_local_storage_path.clone().unwrap_or_else(|| places.data_dir.join("storage")),
            prefix: n.network_prefix.clone(),
            data: places.data_dir.clone(),
            run: places.run_dir.clone(),
        })
    }
    /// The node's network in the cluster of these facts, not begun yet.
    pub fn network(&self, facts: &Facts) -> anyhow::Result<NodeNetwork> {
        let settings = Settings {
            prefix: self.prefix.clone(),
            node: self.name.clone(),
            address: Some(self.address),
            pods: facts.pods.clone(),
            services: facts.services.clone(),
            dns: Some(facts.dns),
            state: network_state(&self.data),
        };
        Ok(NodeNetwork::open(settings)?)
    }
    /// What `skiff stop` must know.
    pub fn traces(&self, facts: &Facts) -> crate::admin::Traces {
        crate::admin::Traces {
            kubeconfig: PathBuf::new(),
            cgroup: self.cgroup.clone(),
            prefix: self.prefix.clone(),
            node: self.name.clone(),
            pods: facts.pods.clone(),
            services: facts.services.clone(),
            registries: self.registries.clone(),
            url: String::new(),
        }
    }
}

/// Where it is kept which pod has which address.
pub fn network_state(data: &Path) -> PathBuf {
    data.join("agent/network")
}

/// The node's address: as told, or the one that the default route would use; loopback when there is none. Nothing is sent.
pub fn address(n: &NodeArgs) -> IpAddr {
    let probe = || {
        let s = UdpSocket::bind("0.0.0.0:0").ok()?;
        s.connect("192.0.2.1:9").ok()?;
        Some(s.local_addr().ok()?.ip())
    };
    n.node_ip.or_else(probe).unwrap_or(IpAddr::from([127, 0, 0, 1]))
}
