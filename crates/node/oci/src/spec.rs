//! What a container is made of. Sent from the daemon to a shim that may be older or newer: fields are added with a
//! default and never change their meaning.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// A mounted root file system.
    pub rootfs: PathBuf,
    pub readonly_rootfs: bool,
    pub process: Process,
    /// In the order in which they are made.
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    /// Every device of the machine, for privileged containers.
    pub all_devices: bool,
    /// /sys and the cgroups can be written to.
    pub sys_writable: bool,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub namespaces: Namespaces,
    /// The folder that becomes /dev/shm.
    pub shm: PathBuf,
    /// From the root of the hierarchies, e.g. `/kubepods/podx/y`.
    pub cgroup: String,
    pub resources: Resources,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    pub args: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    pub cwd: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Bits of the bounding, permitted and effective sets.
    pub capabilities: u64,
    pub no_new_privs: bool,
    pub seccomp: Seccomp,
    pub tty: bool,
    pub oom_score_adj: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    Unconfined,
    #[default]
    Default,
    /// The text of a profile in the OCI format.
    Profile(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub source: PathBuf,
    pub target: PathBuf,
    pub readonly: bool,
    pub recursive_readonly: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    pub source: PathBuf,
    pub target: PathBuf,
    /// Some of `rwm`.
    pub permissions: String,
}

/// Files of namespaces to join; none is the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    pub net: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    pub uts: Option<PathBuf>,
    pub pid: PidNamespace,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    #[default]
    New,
    Host,
    Join(PathBuf),
}

/// Zero and empty are not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub cpu_shares: u64,
    pub cpu_quota: i64,
    pub cpu_period: u64,
    pub memory_limit: i64,
    pub pids_limit: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// Page size such as `2MB`, and bytes.
    pub hugepages: Vec<(String, u64)>,
    pub unified: Vec<(String, String)>,
}
