//! The tables of the fake.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::program::Program;
use crate::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, ExitReason, PodIps, Result, RuntimeError, SandboxConfig, SandboxId, SandboxNet,
    SandboxState, SandboxStatus,
};

pub(super) struct Sandbox {
    pub config: SandboxConfig,
    pub status: SandboxStatus,
}

pub(super) struct Container {
    pub program: Program,
    pub config: ContainerConfig,
    pub status: ContainerStatus,
    /// The exit code, once there is one.
    pub exited: watch::Sender<Option<i32>>,
}

#[derive(Default)]
pub(super) struct State {
    pub sandboxes: BTreeMap<SandboxId, Sandbox>,
    pub containers: BTreeMap<ContainerId, Container>,
    pub next: u64,
    /// A clock that only goes on when something happens.
    pub now: i64,
}

impl State {
    pub fn tick(&mut self) -> i64 {
        self.now += 1_000_000_000;
        self.now
    }

    /// Ids look like real ones: 64 hexadecimal digits.
    pub fn next_id(&mut self) -> String {
        self.next += 1;
        format!("{:064x}", self.next)
    }

    pub fn sandbox(&mut self, id: &SandboxId) -> Result<&mut Sandbox> {
        self.sandboxes.get_mut(id).ok_or_else(|| RuntimeError::sandbox_not_found(id))
    }

    pub fn container(&mut self, id: &ContainerId) -> Result<&mut Container> {
        self.containers.get_mut(id).ok_or_else(|| RuntimeError::container_not_found(id))
    }

    pub fn running(&mut self, id: &ContainerId) -> Result<&mut Container> {
        let container = self.container(id)?;
        match container.status.state {
            ContainerState::Running => Ok(container),
            state => Err(RuntimeError::Precondition(format!("container {id} is not running but {state:?}"))),
        }
    }

    pub fn add_sandbox(&mut self, config: &SandboxConfig) -> SandboxId {
        let id = SandboxId::new(self.next_id());
        let status = SandboxStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            state: SandboxState::Ready,
            created_at: self.tick(),
            ips: PodIps::default(),
            namespaces: config.namespaces.clone(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            runtime_handler: config.runtime_handler.clone(),
            resources: config.resources.clone(),
            netns: None,
        };
        self.sandboxes.insert(id.clone(), Sandbox { config: config.clone(), status });
        id
    }

    pub fn add_container(&mut self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        let pod = self.sandbox(sandbox)?;
        if pod.status.state != SandboxState::Ready {
            return Err(RuntimeError::Precondition(format!("sandbox {sandbox} is not ready")));
        }
        let log_path = match config.log_path.as_os_str().is_empty() {
            true => Default::default(),
            false => pod.config.log_directory.join(&config.log_path),
        };
        if self.containers.values().any(|other| other.status.sandbox == *sandbox && other.status.metadata == config.metadata) {
            return Err(RuntimeError::AlreadyExists { kind: "container", name: config.metadata.name.clone() });
        }
        let id = ContainerId::new(self.next_id());
        let status = ContainerStatus {
            id: id.clone(),
            sandbox: sandbox.clone(),
            metadata: config.metadata.clone(),
            state: ContainerState::Created,
            created_at: self.tick(),
            started_at: 0,
            finished_at: 0,
            exit_code: 0,
            reason: None,
            message: String::new(),
            image: config.image.clone(),
            image_ref: config.image_ref.clone(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            log_path,
            resources: config.resources.clone(),
            user: None,
            pid: None,
        };
        let program = Program::read(if config.command.is_empty() { &config.args } else { &config.command });
        let container = Container { program, config: config.clone(), status, exited: watch::channel(None).0 };
        self.containers.insert(id.clone(), container);
        Ok(id)
    }

    /// Ends a container that runs; false when it doesn't.
    pub fn end(&mut self, id: &ContainerId, exit_code: i32, reason: ExitReason) -> Result<bool> {
        let now = self.tick();
        let container = self.container(id)?;
        if container.status.state != ContainerState::Running {
            return Ok(false);
        }
        container.status.state = ContainerState::Exited;
        container.status.finished_at = now;
        container.status.exit_code = exit_code;
        container.status.reason = Some(reason);
        container.status.pid = None;
        container.exited.send_replace(Some(exit_code));
        Ok(true)
    }
}

impl Sandbox {
    pub fn net(&self) -> SandboxNet {
        SandboxNet {
            id: self.status.id.clone(),
            netns: format!("/fake/{}/net", self.status.id).into(),
            pod_namespace: self.config.metadata.namespace.clone(),
            pod_name: self.config.metadata.name.clone(),
            pod_uid: self.config.metadata.uid.clone(),
            host_ports: self.config.host_ports.clone(),
            annotations: self.config.annotations.clone(),
        }
    }
}
