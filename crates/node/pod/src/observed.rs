//! What the runtime has of one pod.
use skiff_cri::{ContainerState, ContainerStatus, SandboxState, SandboxStatus};

/// Sandboxes and containers of a pod, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    sandboxes: Vec<SandboxStatus>,
    containers: Vec<ContainerStatus>,
}

impl Observed {
    pub fn new(mut sandboxes: Vec<SandboxStatus>, mut containers: Vec<ContainerStatus>) -> Self {
        sandboxes.sort_by_key(|s| std::cmp::Reverse((s.created_at, s.metadata.attempt)));
        containers.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.metadata.attempt)));
        Self { sandboxes, containers }
    }
    pub fn sandboxes(&self) -> &[SandboxStatus] {
        &self.sandboxes
    }
    pub fn containers(&self) -> &[ContainerStatus] {
        &self.containers
    }
    /// The newest sandbox, when it is ready.
    pub fn ready_sandbox(&self) -> Option<&SandboxStatus> {
        self.sandboxes.first().filter(|s| s.state == SandboxState::Ready)
    }
    /// The newest container of that name, in whichever sandbox.
    pub fn find(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|c| c.metadata.name == name)
    }
    /// The newest container of that name in the newest sandbox.
    pub fn find_active(&self, name: &str) -> Option<&ContainerStatus> {
        let sandbox = &self.sandboxes.first()?.id;
        self.containers.iter().find(|c| c.metadata.name == name && c.sandbox == *sandbox)
    }
    /// One of these names has a container in the newest sandbox.
    pub fn any_active<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.any(|n| self.find_active(n).is_some())
    }
    pub fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|c| c.state == ContainerState::Running)
    }
    /// Nothing of the pod can still be running.
    pub fn stopped(&self) -> bool {
        self.running().next().is_none() && self.sandboxes.iter().all(|s| s.state != SandboxState::Ready)
    }
}
