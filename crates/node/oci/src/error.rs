//! A step and what the kernel said.

use std::io;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step of ours, with the object that it failed on.
    #[error("{step}")]
    Step {
        step: String,
        #[source]
        source: io::Error,
    },
    /// The container's program can't be executed; worded as users know it.
    #[error("{0}")]
    Program(String),
    #[error("{0}")]
    Profile(String),
}

impl Error {
    /// The whole story in one line.
    pub fn full_message(&self) -> String {
        match self {
            Self::Step { step, source } => format!("{step}: {source}"),
            Self::Program(text) | Self::Profile(text) => text.clone(),
        }
    }
}

/// Names the step that an IO error belongs to.
pub(crate) trait At<T> {
    fn at(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Step { step: step(), source })
    }
}
