//! Errors. Those that users see as events carry upstream's wording.
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The text of a `FailedMount` event.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume {volume:?} : {cause}")]
    SetUp { volume: String, cause: String },
    /// It is not even known what to mount.
    #[error("Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], failed to process volumes=[{volume}]: {cause}")]
    Process { volume: String, cause: String },
}

impl VolumeError {
    pub fn volume(&self) -> &str {
        match self {
            Self::SetUp { volume, .. } | Self::Process { volume, .. } => volume,
        }
    }
}

/// Why a subPath can't be mounted. Texts don't tell what the host's file system has outside of the volume.
#[derive(Debug, Error)]
pub enum SubPathError {
    #[error("error SubPath `{0}` must not be an absolute path")]
    Absolute(String),
    #[error("unable to provision SubPath `{0}`: must not contain '..'")]
    Backstep(String),
    #[error("{0:?} does not name a volume, a container and a mount")]
    Key(String),
    #[error("subpath {sub_path:?} not within volume path")]
    Outside { sub_path: String },
    #[error("{step} of subpath {sub_path:?}: {}", source.kind())]
    Io { step: &'static str, sub_path: String, source: io::Error },
}

#[derive(Debug, Error)]
pub enum TearDownError {
    #[error("{step} {}: {source}", path.display())]
    Io { step: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is still mounted", .0.display())]
    Mounted(PathBuf),
}

impl TearDownError {
    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}

/// Several reasons as one text, each once, as upstream joins them.
pub(crate) fn joined(errors: &[String]) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for e in errors {
        if !distinct.contains(&e.as_str()) {
            distinct.push(e);
        }
    }
    match distinct.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}
