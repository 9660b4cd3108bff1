//! How a sandbox gets its addresses. The runtime makes and pins the namespace, the network layer fills it.

use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Result, SandboxId};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    pub protocol: Protocol,
    pub container_port: u16,
    pub host_port: u16,
    /// None: all of the node's addresses.
    pub host_ip: Option<IpAddr>,
}

/// A sandbox' network namespace and what the pod wants of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxNet {
    pub id: SandboxId,
    /// The pinned namespace, e.g. `/run/skiff/sandboxes/<id>/net`. `lo` is up already.
    pub netns: PathBuf,
    pub pod_namespace: String,
    pub pod_name: String,
    pub pod_uid: String,
    pub host_ports: Vec<HostPort>,
    /// Carries bandwidth limits and the like.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// A pod's addresses, the primary one first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodIps(pub Vec<IpAddr>);

#[async_trait]
pub trait Network: Send + Sync {
    /// Gives the sandbox an interface and addresses. Called again for the same id it answers the same.
    async fn attach(&self, sandbox: &SandboxNet) -> Result<PodIps>;

    /// Takes all of it back. The namespace may be gone already; what isn't there is no error.
    async fn detach(&self, sandbox: &SandboxNet) -> Result<()>;

    /// None when pods can be attached, otherwise what is missing: the node's NetworkReady condition.
    async fn not_ready_reason(&self) -> Option<String> {
        None
    }
}
