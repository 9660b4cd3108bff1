//! What can go wrong, in the classes that a caller acts on.

/// The result of every call of the contract.
pub type Result<T> = std::result::Result<T, RuntimeError>;

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The sandbox, container or image is not known (any more).
    #[error("{kind} {name:?} not found")]
    NotFound { kind: &'static str, name: String },
    /// A container of that name and attempt is already there.
    #[error("{kind} {name:?} already exists")]
    AlreadyExists { kind: &'static str, name: String },
    /// The configuration can't be carried out by anyone: retrying won't help.
    #[error("{0}")]
    Invalid(String),
    /// The object is in a state in which this can't be done, such as exec in a container that has ended.
    #[error("{0}")]
    Precondition(String),
    /// This machine or this runtime can't do it.
    #[error("{0}")]
    Unsupported(String),
    /// A time limit given by the caller has passed.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The registry refused us.
    #[error("{0}")]
    Unauthorized(String),
    /// The container's process could not be started; the text is what a user sees as the pod's message.
    #[error("{0}")]
    StartFailed(String),
    /// Anything else: a step and the object that it failed on.
    #[error("{step}")]
    Failed {
        step: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RuntimeError {
    pub fn failed(step: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed { step: step.into(), source: source.into() }
    }

    pub fn sandbox_not_found(id: &super::SandboxId) -> Self {
        Self::NotFound { kind: "sandbox", name: id.to_string() }
    }

    pub fn container_not_found(id: &super::ContainerId) -> Self {
        Self::NotFound { kind: "container", name: id.to_string() }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The message with all its sources, for a pod's status or an event.
    pub fn full_message(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
