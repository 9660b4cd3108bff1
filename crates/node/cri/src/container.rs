//! A container: what is asked for and what has become of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ContainerId, ImageId, PidMode, Resources, SandboxId, SandboxState, Security};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerMetadata {
    pub name: String,
    /// Raised at each restart; with `name` unique inside a sandbox.
    pub attempt: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    pub metadata: ContainerMetadata,
    /// The image, present in the store already.
    pub image: ImageId,
    /// What the user wrote as `image:`, for status only.
    #[serde(default)]
    pub image_ref: String,
    /// Replaces the image's entrypoint. When set, the image's command is not used either.
    #[serde(default)]
    pub command: Vec<String>,
    /// Replaces the image's command.
    #[serde(default)]
    pub args: Vec<String>,
    /// Empty: the image's, otherwise `/`.
    #[serde(default)]
    pub working_dir: String,
    /// Wins over the image's environment, name by name; later entries win.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub devices: Vec<Device>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Below the sandbox' log directory, e.g. `nginx/0.log`. Empty: no log.
    #[serde(default)]
    pub log_path: PathBuf,
    #[serde(default)]
    pub tty: bool,
    #[serde(default)]
    pub stdin: bool,
    /// Stdin closes when the first attached client leaves.
    #[serde(default)]
    pub stdin_once: bool,
    /// The container's own choice of a PID namespace; none is the sandbox' one.
    #[serde(default)]
    pub pid: Option<PidMode>,
    #[serde(default)]
    pub security: Security,
    #[serde(default)]
    pub resources: Resources,
    /// A signal name such as `SIGUSR1` that stops the container; wins over the image's.
    #[serde(default)]
    pub stop_signal: Option<String>,
}

impl ContainerConfig {
    /// A container with nothing but a name and an image.
    pub fn new(name: impl Into<String>, image: ImageId) -> Self {
        Self {
            metadata: ContainerMetadata { name: name.into(), attempt: 0 },
            image,
            image_ref: String::new(),
            command: Vec::new(),
            args: Vec::new(),
            working_dir: String::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            devices: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            log_path: PathBuf::new(),
            tty: false,
            stdin: false,
            stdin_once: false,
            pid: None,
            security: Security::default(),
            resources: Resources::default(),
            stop_signal: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Made as a folder when it is not there.
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub readonly: bool,
    /// With `readonly`: every mount below as well (needs Linux 5.12).
    pub recursive_readonly: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    /// Mounts made on the host appear inside (rslave).
    HostToContainer,
    /// And the other way round (rshared).
    Bidirectional,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    /// Some of `rwm`.
    pub permissions: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    /// Its supervisor can't be reached: what became of it is not known.
    Unknown,
}

/// Why a container ended, as the pod's status shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    Completed,
    Error,
    OomKilled,
    /// The process could not be started.
    StartError,
    /// The machine went away under it (reboot) or its supervisor was lost.
    Lost,
}

impl ExitReason {
    /// The word that Kubernetes shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
            Self::StartError => "StartError",
            Self::Lost => "ContainerStatusUnknown",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    pub id: ContainerId,
    pub sandbox: SandboxId,
    pub metadata: ContainerMetadata,
    pub state: ContainerState,
    /// Nanoseconds since 1970; zero when it hasn't happened.
    pub created_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
    /// 128 + n when a signal ended it.
    pub exit_code: i32,
    pub reason: Option<ExitReason>,
    pub message: String,
    pub image: ImageId,
    pub image_ref: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub mounts: Vec<Mount>,
    /// Absolute; empty without a log.
    pub log_path: PathBuf,
    /// What is really in force now.
    pub resources: Resources,
    /// The ids that the first process runs as, when known: uid, gid, supplemental groups.
    pub user: Option<(u32, u32, Vec<u32>)>,
    /// The first process, while it runs.
    pub pid: Option<u32>,
}

/// Nothing set lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    pub id: Option<ContainerId>,
    pub sandbox: Option<SandboxId>,
    pub state: Option<ContainerState>,
    pub labels: BTreeMap<String, String>,
}

impl ContainerFilter {
    pub fn matches(&self, status: &ContainerStatus) -> bool {
        self.id.as_ref().is_none_or(|id| *id == status.id)
            && self.sandbox.as_ref().is_none_or(|id| *id == status.sandbox)
            && self.state.is_none_or(|state| state == status.state)
            && self.labels.iter().all(|(name, value)| status.labels.get(name) == Some(value))
    }
}

impl crate::SandboxFilter {
    pub fn matches(&self, status: &crate::SandboxStatus) -> bool {
        let state: Option<SandboxState> = self.state;
        self.id.as_ref().is_none_or(|id| *id == status.id)
            && state.is_none_or(|state| state == status.state)
            && self.labels.iter().all(|(name, value)| status.labels.get(name) == Some(value))
    }
}
