//! What the runtime knows, in memory and in the run folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skiff_cri::{
    ContainerConfig, ContainerId, ContainerMetadata, ContainerState, ContainerStatus, ExitReason, Network, PodIps, PodMetadata, Result, RuntimeError,
    RuntimeEvent, SandboxConfig, SandboxId, SandboxNet, SandboxState, SandboxStatus, Snapshots,
};
use skiff_shim::protocol::Exit;
use tokio::sync::{broadcast, watch};

use crate::Config;

/// The embedded runtime; cheap to clone.
#[derive(Clone)]
pub struct EmbeddedRuntime {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: Config,
    pub snapshots: Arc<dyn Snapshots>,
    pub network: Arc<dyn Network>,
    pub tables: Mutex<Tables>,
    pub events: broadcast::Sender<RuntimeEvent>,
}

#[derive(Default)]
pub(crate) struct Tables {
    pub sandboxes: BTreeMap<SandboxId, Sandbox>,
    pub containers: BTreeMap<ContainerId, Container>,
    /// What is being made and has no record yet.
    pub making: Vec<Name>,
}

/// What no two of may be there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Name {
    Sandbox(PodMetadata),
    Container(SandboxId, ContainerMetadata),
}

/// A name that nobody else gets until this is dropped; by then its record is in the tables, or it came to nothing.
pub(crate) struct Reserved {
    inner: Arc<Inner>,
    name: Name,
}

/// `sandbox.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub id: SandboxId,
    pub config: SandboxConfig,
    pub created_at: i64,
    pub ips: PodIps,
    /// The cgroup of the whole pod, from the hierarchies' roots.
    pub cgroup: String,
    pub ready: bool,
}

/// `container.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub id: ContainerId,
    pub sandbox: SandboxId,
    pub config: ContainerConfig,
    pub created_at: i64,
    pub started_at: i64,
    pub ended: Option<Ended>,
    pub spec: skiff_oci::Spec,
    pub stop_signal: i32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub code: i32,
    pub reason: ExitReason,
    pub message: String,
    pub finished_at: i64,
}

pub(crate) struct Sandbox {
    pub record: SandboxRecord,
}

pub(crate) struct Container {
    pub record: ContainerRecord,
    pub pid: Option<u32>,
    /// Between the request to start and its answer an exit has to wait.
    pub starting: bool,
    pub early_exit: Option<Exit>,
    pub ended: watch::Sender<bool>,
}

impl Ended {
    pub(crate) fn from_exit(exit: &Exit) -> Self {
        let reason = match exit.code {
            0 => ExitReason::Completed,
            _ if exit.oom => ExitReason::OomKilled,
            _ => ExitReason::Error,
        };
        Self { code: exit.code, reason, message: String::new(), finished_at: exit.finished_at }
    }
}

impl Container {
    pub(crate) fn new(record: ContainerRecord) -> Self {
        let ended = watch::channel(record.ended.is_some()).0;
        Self { record, pid: None, starting: false, early_exit: None, ended }
    }

    pub(crate) fn state(&self) -> ContainerState {
        match (&self.record.ended, self.record.started_at) {
            (Some(_), _) => ContainerState::Exited,
            (None, 0) => ContainerState::Created,
            (None, _) => ContainerState::Running,
        }
    }

    pub(crate) fn status(&self, log_directory: &Path) -> ContainerStatus {
        let record = &self.record;
        let ended = record.ended.as_ref();
        let process = &record.spec.process;
        ContainerStatus {
            id: record.id.clone(),
            sandbox: record.sandbox.clone(),
            metadata: record.config.metadata.clone(),
            state: self.state(),
            created_at: record.created_at,
            started_at: record.started_at,
            finished_at: ended.map_or(0, |ended| ended.finished_at),
            exit_code: ended.map_or(0, |ended| ended.code),
            reason: ended.map(|ended| ended.reason),
            message: ended.map(|ended| ended.message.clone()).unwrap_or_default(),
            image: record.config.image.clone(),
            image_ref: record.config.image_ref.clone(),
            labels: record.config.labels.clone(),
            annotations: record.config.annotations.clone(),
            mounts: record.config.mounts.clone(),
            log_path: log_path(log_directory, &record.config.log_path).unwrap_or_default(),
            resources: record.config.resources.clone(),
            user: Some((process.uid, process.gid, process.groups.clone())),
            pid: self.pid,
        }
    }
}

/// None without a log.
pub(crate) fn log_path(directory: &Path, path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| directory.join(path))
}

impl SandboxRecord {
    pub(crate) fn status(&self, folder: &Path) -> SandboxStatus {
        let own_net = !self.config.namespaces.host_network;
        SandboxStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: if self.ready { SandboxState::Ready } else { SandboxState::NotReady },
            created_at: self.created_at,
            ips: self.ips.clone(),
            namespaces: self.config.namespaces.clone(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            runtime_handler: self.config.runtime_handler.clone(),
            resources: self.config.resources.clone(),
            netns: own_net.then(|| folder.join(skiff_oci::sandbox::NET)),
        }
    }

    pub(crate) fn net(&self, folder: &Path) -> SandboxNet {
        SandboxNet {
            id: self.id.clone(),
            netns: folder.join(skiff_oci::sandbox::NET),
            pod_namespace: self.config.metadata.namespace.clone(),
            pod_name: self.config.metadata.name.clone(),
            pod_uid: self.config.metadata.uid.clone(),
            host_ports: self.config.host_ports.clone(),
            annotations: self.config.annotations.clone(),
        }
    }
}

impl Tables {
    pub(crate) fn sandbox(&mut self, id: &SandboxId) -> Result<&mut Sandbox> {
        self.sandboxes.get_mut(id).ok_or_else(|| RuntimeError::sandbox_not_found(id))
    }

    pub(crate) fn container(&mut self, id: &ContainerId) -> Result<&mut Container> {
        self.containers.get_mut(id).ok_or_else(|| RuntimeError::container_not_found(id))
    }

    pub(crate) fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        self.containers.values().filter(|c| c.record.sandbox == *sandbox).map(|c| c.record.id.clone()).collect()
    }
}

impl Name {
    fn is_taken(&self, tables: &Tables) -> bool {
        let recorded = match self {
            Name::Sandbox(metadata) => tables.sandboxes.values().any(|other| other.record.config.metadata == *metadata),
            Name::Container(sandbox, metadata) => {
                tables.containers.values().any(|other| other.record.sandbox == *sandbox && other.record.config.metadata == *metadata)
            }
        };
        recorded || tables.making.contains(self)
    }

    fn taken(&self) -> RuntimeError {
        match self {
            Name::Sandbox(metadata) => RuntimeError::AlreadyExists { kind: "sandbox", name: metadata.name.clone() },
            Name::Container(_, metadata) => RuntimeError::AlreadyExists { kind: "container", name: metadata.name.clone() },
        }
    }
}

impl Reserved {
    pub(crate) fn take(inner: &Arc<Inner>, name: Name) -> Result<Self> {
        let mut tables = inner.tables.lock();
        if name.is_taken(&tables) {
            return Err(name.taken());
        }
        tables.making.push(name.clone());
        Ok(Self { inner: inner.clone(), name })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.inner.tables.lock().making.retain(|name| *name != self.name);
    }
}

impl Inner {
    pub(crate) fn push(&self, event: RuntimeEvent) {
        // Without a listener there is nobody to tell.
        let _ = self.events.send(event);
    }

    pub(crate) fn container_folder(&self, sandbox: &SandboxId, id: &ContainerId) -> PathBuf {
        self.config.sandbox(sandbox).join("containers").join(id.as_str())
    }

    pub(crate) fn save_sandbox(&self, record: &SandboxRecord) -> Result<()> {
        write_json(&self.config.sandbox(&record.id).join("sandbox.json"), record)
    }

    pub(crate) fn save_container(&self, record: &ContainerRecord) -> Result<()> {
        write_json(&self.container_folder(&record.sandbox, &record.id).join("container.json"), record)
    }
}

/// All of it or nothing: by a temporary file and a rename.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, skiff_json::to_vec(value)?)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| RuntimeError::failed(format!("write {}", path.display()), source))
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    skiff_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64)
}

/// 64 random hexadecimal digits.
pub(crate) fn new_id() -> Result<String> {
    let mut bytes = [0; 32];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|source| RuntimeError::failed("read /dev/urandom", source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
