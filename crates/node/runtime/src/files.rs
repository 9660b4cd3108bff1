//! Work with files and cgroups: off the async threads, with errors that name the step.

use std::fs;
use std::path::Path;
use std::time::Duration;

use skiff_cri::{Result, RuntimeError};

/// How long killed processes get to leave their cgroup.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn failed(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> RuntimeError {
    let step = step.into();
    move |source| RuntimeError::failed(step, source)
}

pub(crate) fn oci_failed(step: &str) -> impl FnOnce(skiff_oci::Error) -> RuntimeError + '_ {
    move |error| RuntimeError::failed(step, error.full_message())
}

/// Work with files that may take a moment, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(RuntimeError::failed("run a blocking step", error)))
}

/// Another daemon (`skiff stop` beside one that runs) may put a last record in while we remove: then again.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    for _ in 0..5 {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(format!("remove {}", folder.display()))(error)),
            _ => return Ok(()),
        }
    }
    Err(RuntimeError::failed(format!("remove {}", folder.display()), "something keeps writing into it"))
}
