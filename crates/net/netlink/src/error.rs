//! What can go wrong: a system call or a request that the kernel refused, with the object it was about.

use std::io;

pub type Result<T> = std::result::Result<T, NetlinkError>;

#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call failed.
    #[error("{step}")]
    System {
        step: String,
        #[source]
        source: io::Error,
    },
    /// The kernel refused a request; `sequence` says which one of a batch.
    #[error("{step}")]
    Refused {
        step: String,
        sequence: u32,
        #[source]
        source: io::Error,
    },
    #[error("{step}: the kernel's answer is malformed")]
    Malformed { step: String },
    #[error("no link is named {0}")]
    NoSuchLink(String),
}

impl NetlinkError {
    pub fn system(step: impl Into<String>, source: io::Error) -> Self {
        Self::System { step: step.into(), source }
    }

    /// Renames the step; the cause stays.
    pub fn at(self, step: impl Into<String>) -> Self {
        match self {
            Self::System { source, .. } => Self::System { step: step.into(), source },
            Self::Refused { sequence, source, .. } => Self::Refused { step: step.into(), sequence, source },
            Self::Malformed { .. } => Self::Malformed { step: step.into() },
            other => other,
        }
    }

    /// The operating system's error number, if it was one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } | Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    pub fn is(&self, errno: i32) -> bool {
        self.errno() == Some(errno)
    }
}
