//! What a node agent is told.
use k8s_openapi::api::core::v1::Taint;
use skiff_meta::Quantity;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone)]
pub struct Config {
    pub node_name: String,
    /// The primary address first.
    pub node_ips: Vec<IpAddr>,
    /// Pods' folders: `<root>/pods/<uid>`.
    pub root_dir: PathBuf,
    /// Pods' logs, usually /var/log/pods.
    pub log_dir: PathBuf,
    /// Links by container, usually /var/log/containers; None makes none.
    pub container_log_links: Option<PathBuf>,
    pub run_dir: PathBuf,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// The node's resolver file; None gives pods with the node's DNS only the loopback resolver.
    pub resolv_conf: Option<PathBuf>,
    pub max_pods: u32,
    /// For each pod; -1 is no limit.
    pub pod_pids_limit: i64,
    /// Below the runtime's own root: `/kubepods`.
    pub cgroup_root: String,
    /// Where the server listens, usually port 10250; None starts none.
    pub listen: Option<SocketAddr>,
    /// Certificate, key and client CA are inside.
    pub tls: Option<std::sync::Arc<rustls::ServerConfig>>,
    pub register_node: bool,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub annotations: BTreeMap<String, String>,
    /// Kept back for the system; taken off the capacity.
    pub reserved: BTreeMap<String, Quantity>,
    /// Static pods: a folder of manifests.
    pub manifests: Option<PathBuf>,
    pub provider_id: Option<String>,
    /// As the node's status shows it: `v1.37.0+skiff1`.
    pub version: String,
    pub lease_period: Duration,
    /// How often an unchanged node status is sent all the same.
    pub status_period: Duration,
    pub max_parallel_pulls: usize,
    /// The longest wait between restarts of a crashing container.
    pub max_restart_backoff: Duration,
    pub image_gc: ImageGc,
    pub eviction: Eviction,
    /// Bytes of a container's log file before it is rotated, and how many files are kept.
    pub log_max_bytes: u64,
    pub log_max_files: u32,
    /// Where `localhostProfile` files of seccomp are.
    pub seccomp_root: PathBuf,
    /// Where those who run the node's network report how it does.
    pub network: crate::NetworkHealth,
}

/// Percent of the image file system.
#[derive(Clone, Copy, Debug)]
pub struct ImageGc {
    pub high: u64,
    pub low: u64,
    pub min_age: Duration,
}

/// Hard limits below which the node is under pressure.
#[derive(Clone, Copy, Debug)]
pub struct Eviction {
    pub memory_available: u64,
    /// Percent free.
    pub disk_available: u64,
    /// Process ids left.
    pub pids_available: u64,
}

impl Config {
    /// Upstream's defaults for a node of that name.
    pub fn new(node_name: impl Into<String>, node_ips: Vec<IpAddr>, root_dir: impl Into<PathBuf>) -> Self {
        let root_dir = root_dir.into();
        Self {
            node_name: node_name.into(),
            node_ips,
            log_dir: "/var/log/pods".into(),
            container_log_links: Some("/var/log/containers".into()),
            run_dir: "/run/skiff".into(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".into(),
            resolv_conf: Some("/etc/resolv.conf".into()),
            max_pods: 110,
            pod_pids_limit: -1,
            cgroup_root: "/kubepods".into(),
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 10250))),
            tls: None,
            register_node: true,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            annotations: BTreeMap::new(),
            reserved: BTreeMap::new(),
            manifests: None,
            provider_id: None,
            version: "v1.37.0".into(),
            lease_period: Duration::from_secs(10),
            status_period: Duration::from_secs(300),
            max_parallel_pulls: 4,
            max_restart_backoff: Duration::from_secs(300),
            image_gc: ImageGc { high: 85, low: 80, min_age: Duration::from_secs(120) },
            eviction: Eviction { memory_available: 100 << 20, disk_available: 5, pids_available: 512 },
            log_max_bytes: 10 << 20,
            log_max_files: 5,
            seccomp_root: root_dir.join("seccomp"),
            network: crate::NetworkHealth::default(),
            root_dir,
        }
    }
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }
}
