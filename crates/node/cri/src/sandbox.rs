//! A pod's sandbox: the namespaces and the cgroup that its containers share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{HostPort, Namespaces, PodIps, Resources, SandboxId};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodMetadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// Raised when the sandbox of the same pod has to be made again.
    pub attempt: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxConfig {
    pub metadata: PodMetadata,
    /// Empty with the host's network.
    pub hostname: String,
    pub dns: DnsConfig,
    /// Where the containers' logs are, e.g. `/var/log/pods/<ns>_<name>_<uid>`.
    pub log_directory: PathBuf,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub namespaces: Namespaces,
    pub sysctls: BTreeMap<String, String>,
    pub host_ports: Vec<HostPort>,
    /// The pod's cgroup, under the runtime's own root, e.g. `/kubepods/burstable/pod<uid>`. The kubelet's limits for
    /// the whole pod are `resources`.
    pub cgroup_parent: String,
    pub resources: Resources,
    /// Some container of the pod is privileged.
    pub privileged: bool,
    /// A RuntimeClass' handler; empty is the embedded runtime.
    pub runtime_handler: String,
}

/// The lines of /etc/resolv.conf. The kubelet writes the file and mounts it; this is here for runtimes that do it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsConfig {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxState {
    Ready,
    NotReady,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStatus {
    pub id: SandboxId,
    pub metadata: PodMetadata,
    pub state: SandboxState,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// Empty with the host's network.
    pub ips: PodIps,
    pub namespaces: Namespaces,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub runtime_handler: String,
    /// Of the pod's group.
    pub resources: Resources,
    /// The pinned network namespace, unless it is the host's.
    pub netns: Option<PathBuf>,
}

/// Nothing set lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxFilter {
    pub id: Option<SandboxId>,
    pub state: Option<SandboxState>,
    /// All of these have to be there.
    pub labels: BTreeMap<String, String>,
}
