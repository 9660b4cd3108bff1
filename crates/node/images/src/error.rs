//! What can go wrong with images, each naming the step and the object.

use std::io;
use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("image reference {reference:?} is not valid: {reason}")]
    Reference { reference: String, reason: &'static str },
    #[error("{step} {}", path.display())]
    Io {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("unpacking entry {entry:?}: {step}")]
    Entry {
        step: &'static str,
        entry: String,
        #[source]
        source: io::Error,
    },
    #[error("the archive is damaged at byte {offset}: {reason}")]
    Tar { offset: u64, reason: &'static str },
    #[error("reading {what}")]
    Read {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("{what} has the digest {actual}, expected {expected}")]
    DigestMismatch { what: String, expected: String, actual: String },
    #[error("{0:?} is not a sha256 digest")]
    Digest(String),
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    #[error("{what} expands to more than {ratio} times its compressed size")]
    Ratio { what: String, ratio: u64 },
    #[error("decoding {what}")]
    Json {
        what: String,
        #[source]
        source: skiff_json::Error,
    },
    #[error("{what}: {reason}")]
    Malformed { what: String, reason: String },
    #[error("no image in {reference} for platform {platform}")]
    NoPlatform { reference: String, platform: String },
    #[error("{step} {url}")]
    Http {
        step: &'static str,
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("failed to pull {reference}: {status} from {url}: {message}")]
    Refused { reference: String, status: u16, url: String, message: String },
    #[error("{0} not found")]
    NotFound(String),
    #[error("image {0} is in use by a container")]
    InUse(String),
    #[error("{0}")]
    Config(String),
    #[error("mounting the root file system of container {container}: {step}")]
    Mount {
        container: String,
        step: String,
        #[source]
        source: io::Error,
    },
    #[error("a worker of the image store ended early")]
    Worker,
}

impl Error {
    pub(crate) fn io(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source }
    }

    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. })
    }
}

impl From<Error> for skiff_cri::RuntimeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Reference { .. } | Error::NoPlatform { .. } => Self::Invalid(error.to_string()),
            Error::NotFound(name) => Self::NotFound { kind: "image", name },
            Error::InUse(_) => Self::Precondition(error.to_string()),
            error if error.is_unauthorized() => Self::Unauthorized(error.to_string()),
            error => {
                let step = error.to_string();
                match std::error::Error::source(&error) {
                    Some(_) => Self::failed(step, SourceOf(error)),
                    None => Self::failed("image store", error),
                }
            }
        }
    }
}

/// Shows the cause of an error whose own text is already the step.
#[derive(Debug)]
struct SourceOf(Error);

impl std::fmt::Display for SourceOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match std::error::Error::source(&self.0) {
            Some(source) => write!(f, "{source}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for SourceOf {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)?.source()
    }
}
