//! What happens to containers, pushed.

use tokio::sync::broadcast;

use crate::{ContainerId, ExitReason, SandboxId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    ContainerCreated {
        sandbox: SandboxId,
        container: ContainerId,
    },
    ContainerStarted {
        sandbox: SandboxId,
        container: ContainerId,
    },
    ContainerExited {
        sandbox: SandboxId,
        container: ContainerId,
        exit_code: i32,
        reason: ExitReason,
    },
    /// A process of it was killed for lack of memory; the container itself may go on.
    ContainerOom {
        sandbox: SandboxId,
        container: ContainerId,
    },
    ContainerRemoved {
        sandbox: SandboxId,
        container: ContainerId,
    },
    SandboxReady {
        sandbox: SandboxId,
    },
    /// It was stopped, or its supervisor or namespaces were lost.
    SandboxNotReady {
        sandbox: SandboxId,
    },
    SandboxRemoved {
        sandbox: SandboxId,
    },
}

impl RuntimeEvent {
    pub fn sandbox(&self) -> &SandboxId {
        match self {
            Self::ContainerCreated { sandbox, .. }
            | Self::ContainerStarted { sandbox, .. }
            | Self::ContainerExited { sandbox, .. }
            | Self::ContainerOom { sandbox, .. }
            | Self::ContainerRemoved { sandbox, .. }
            | Self::SandboxReady { sandbox }
            | Self::SandboxNotReady { sandbox }
            | Self::SandboxRemoved { sandbox } => sandbox,
        }
    }
}

/// A receiver that falls behind gets `Lagged` and has to list again: events only wake, states are read.
pub type EventStream = broadcast::Receiver<RuntimeEvent>;
