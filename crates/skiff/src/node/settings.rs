//! What the flags of a node mean, the same for a server's own node and for an agent's.
use crate::admin::{Traces, absolute};
use crate::cli::{NodeArgs, Places};
use crate::facts::Facts;
use anyhow::Context;
use k8s_openapi::api::core::v1::Taint;
use skiff_network::{NodeNetwork, Settings};
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

pub struct NodeSettings {
    pub name: String,
    pub address: IpAddr,
    /// Where the node agent's server listens, with `port`.
    pub listen: IpAddr,
    pub labels: Vec<(String, String)>,
    pub taints: Vec<Taint>,
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
        let label = |l: &String| {
            l.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).with_context(|| format!("--node-label {l:?} is not of the form key=value"))
        };
        let host = || rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let name = n.node_name.clone().unwrap_or_else(host);
        skiff_meta::is_dns1123_subdomain(&name).map_err(|e| anyhow::anyhow!("the node's name {name:?} is of no use: {}", e[0]))?;
        Ok(Self {
            name,
            address: address(n),
            listen,
            labels: n.node_label.iter().map(label).collect::<anyhow::Result<_>>()?,
            taints: n.node_taint.iter().map(|t| taint(t)).collect::<anyhow::Result<_>>()?,
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
    pub fn traces(&self, facts: &Facts) -> Traces {
        Traces {
            kubeconfig: PathBuf::new(),
            cgroup: self.cgroup.clone(),
            prefix: self.prefix.clone(),
            node: self.name.clone(),
            pods: facts.pods.clone(),
            services: facts.services.clone(),
            registries: absolute(&self.registries),
            url: String::new(),
            data: absolute(&self.data),
            kubelet: absolute(&kubelet(&self.data)),
            logs: absolute(&self.logs),
        }
    }
}

/// Where it is kept which pod has which address.
pub fn network_state(data: &Path) -> PathBuf {
    data.join("agent/network")
}

/// The node agent's state; volumes are mounted below it.
pub fn kubelet(data: &Path) -> PathBuf {
    data.join("agent/kubelet")
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

/// `key=value:effect`, `key:effect`.
fn taint(text: &str) -> anyhow::Result<Taint> {
    let (left, effect) = text.rsplit_once(':').with_context(|| format!("--node-taint {text:?} is not of the form key=value:effect"))?;
    anyhow::ensure!(
        ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect),
        "--node-taint {text:?}: the effect is one of NoSchedule, PreferNoSchedule, NoExecute"
    );
    let (key, value) = left.split_once('=').map_or((left, None), |(k, v)| (k, Some(v.to_owned())));
    anyhow::ensure!(!key.is_empty(), "--node-taint {text:?}: the key is missing");
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_understood_or_told() {
        let t = taint("a/b=c:NoExecute").unwrap();
        assert_eq!((t.key.as_str(), t.value.as_deref(), t.effect.as_str()), ("a/b", Some("c"), "NoExecute"));
        assert_eq!(taint("a:NoSchedule").unwrap().value, None);
        for (bad, part) in [("a", "key=value:effect"), ("a:never", "NoSchedule, PreferNoSchedule, NoExecute"), ("=x:NoExecute", "the key")] {
            let told = taint(bad).unwrap_err().to_string();
            assert!(told.contains(part), "{bad}: {told}");
        }
    }
}
