//! Namespaces, users and privileges of a container.

use serde::{Deserialize, Serialize};

/// Which namespaces a pod has of its own. The default is a pod with its own network and IPC, and a PID namespace for
/// each container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    pub host_network: bool,
    pub host_ipc: bool,
    pub pid: PidMode,
    /// The pod's user namespace; none means the host's.
    pub user: Option<UserNamespace>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidMode {
    /// One PID namespace for each container.
    #[default]
    Container,
    /// One for the pod (`shareProcessNamespace`).
    Pod,
    /// The host's (`hostPID`).
    Host,
    /// That of a container of the same pod (ephemeral containers with `targetContainerName`).
    Target(crate::ContainerId),
}

/// A user namespace: what ids inside are outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    pub uids: Vec<IdMapping>,
    pub gids: Vec<IdMapping>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    pub host: u32,
    pub container: u32,
    pub length: u32,
}

/// Who a container runs as. Nothing set means: as the image says, otherwise root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// `runAsUser`; wins over `name`.
    pub uid: Option<u32>,
    /// A user name, `name:group` or `uid:gid` as images write it, looked up in the container's /etc/passwd.
    pub name: Option<String>,
    /// `runAsGroup`.
    pub gid: Option<u32>,
    pub supplemental_groups: Vec<u32>,
    pub policy: SupplementalGroupsPolicy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupplementalGroupsPolicy {
    /// Groups of the image's /etc/group are added.
    #[default]
    Merge,
    /// Only the groups that the pod names.
    Strict,
}

/// Capability names with or without `CAP_`, in any case; `ALL` is understood in both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub add: Vec<String>,
    pub drop: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// The absolute path of a profile on the node.
    Localhost(std::path::PathBuf),
}

/// A container's security context, after the pod's has been merged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    pub user: User,
    pub privileged: bool,
    pub readonly_rootfs: bool,
    pub no_new_privs: bool,
    pub capabilities: Capabilities,
    pub seccomp: Seccomp,
    /// `None`: the usual paths are masked and read-only. `Some(vec![])`: none are (`procMount: Unmasked`).
    pub masked_paths: Option<Vec<String>>,
    pub readonly_paths: Option<Vec<String>>,
}
