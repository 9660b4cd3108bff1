//! The runtime itself.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    AsyncDuplex, ContainerConfig, ContainerFilter, ContainerId, ContainerStats, ContainerStatus, EventStream, ExecOptions, ExecOutput, ExecStream, Resources,
    Result, SandboxConfig, SandboxFilter, SandboxId, SandboxStats, SandboxStatus,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As the node's `containerRuntimeVersion` starts: `skiff`, `containerd`.
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// None when ready, otherwise what is wrong.
    pub runtime_problem: Option<String>,
    pub network_problem: Option<String>,
    /// Handlers that a RuntimeClass may name; the empty one is the default.
    pub handlers: Vec<String>,
    pub user_namespaces: bool,
    pub recursive_readonly_mounts: bool,
    /// Where the runtime puts what grows: the root file systems' writable layers.
    pub root: PathBuf,
}

/// Every call may be repeated: stopping what is stopped and removing what is gone succeed.
#[async_trait]
pub trait Runtime: Send + Sync {
    async fn version(&self) -> Result<Version>;

    async fn status(&self) -> Result<RuntimeStatus>;

    /// Makes and starts a sandbox, its network included. A failure leaves nothing behind.
    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId>;

    /// Ends all containers at once, then takes the network away. The sandbox stays listed as not ready.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// Removes the sandbox and its containers, stopping them first.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()>;

    async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus>;

    async fn list_sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<SandboxStatus>>;

    async fn create_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId>;

    /// Returns when the container's program has been executed, or with [`crate::RuntimeError::StartFailed`].
    async fn start_container(&self, id: &ContainerId) -> Result<()>;

    /// Sends the stop signal, after `grace` SIGKILL; returns when the container has ended. Zero kills at once.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()>;

    /// Removes it, killing it first when it still runs. The log files stay.
    async fn remove_container(&self, id: &ContainerId) -> Result<()>;

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus>;

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStatus>>;

    /// Changes limits of the pod's own group. Fields that aren't set stay as they are; a limit of -1 takes one away.
    async fn update_sandbox_resources(&self, id: &SandboxId, resources: &Resources) -> Result<()>;

    /// Changes limits of a running container; fields as above.
    async fn update_resources(&self, id: &ContainerId, resources: &Resources) -> Result<()>;

    /// Fails with [`crate::RuntimeError::StartFailed`] when the program can't be executed.
    async fn exec(&self, id: &ContainerId, options: &ExecOptions) -> Result<ExecStream>;

    /// Runs a command to its end; after `timeout` it is killed and the answer is
    /// [`crate::RuntimeError::DeadlineExceeded`]. Zero is no limit.
    async fn exec_sync(&self, id: &ContainerId, argv: &[String], timeout: Duration) -> Result<ExecOutput>;

    /// Joins the streams of the first process from now on.
    async fn attach(&self, id: &ContainerId) -> Result<ExecStream>;

    /// Connects to a TCP port on the sandbox' own loopback.
    async fn port_forward(&self, id: &SandboxId, port: u16) -> Result<Box<dyn AsyncDuplex>>;

    /// The log file has been renamed: go on in a new one of the old name.
    async fn reopen_log(&self, id: &ContainerId) -> Result<()>;

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats>;

    async fn sandbox_stats(&self, id: &SandboxId) -> Result<SandboxStats>;

    /// Everything that happens from now on.
    fn events(&self) -> EventStream;
}
