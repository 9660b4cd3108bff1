//! Sealing of values at rest: what an engine asks before it writes a value and after it read one.
use thiserror::Error;

/// Why a value cannot be sealed or opened. The engine adds which object it is.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SealError {
    /// The key that is needed is not at hand: nothing is damaged, it must be put back.
    #[error("it was sealed by {0}, which is not among the keys")]
    UnknownKey(String),
    #[error("{0} does not open it: it is another key than the one that sealed it, or the value is damaged")]
    Refused(String),
    #[error("{provider} cannot be used: {why}")]
    Provider { provider: String, why: String },
}

/// Decides which values are sealed, and by what. Called from the engine's own thread: it may block.
pub trait Sealing: Send + Sync + 'static {
    /// The form in which the value of `key` goes to the disk; None: as it is.
    fn seal(&self, key: &str, value: &[u8]) -> Result<Option<Vec<u8>>, SealError>;
    /// The value of `key` out of what [`Sealing::seal`] made of it, now or with earlier settings.
    fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError>;
    /// Whether a value that lies so (None: as it is) would be written the same way today.
    fn fresh(&self, key: &str, sealed: Option<&[u8]>) -> bool;
    /// What sealed this, without secrets: `own key 3f…`, `aescbc key1`.
    fn label(&self, sealed: &[u8]) -> String;
}

/// Seals nothing.
pub struct Unsealed;

impl Sealing for Unsealed {
    fn seal(&self, _: &str, _: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        Ok(None)
    }
    fn open(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, SealError> {
        Err(SealError::UnknownKey("a key".into()))
    }
    fn fresh(&self, _: &str, sealed: Option<&[u8]>) -> bool {
        sealed.is_none()
    }
    fn label(&self, _: &[u8]) -> String {
        "unknown".into()
    }
}

/// What lies on the disk, by what sealed it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Values of objects that stand and of those that history still holds, by [`Sealing::label`]. Values that lie as
    /// they are count only in `stale`.
    pub by: std::collections::BTreeMap<String, usize>,
    /// Values that lie otherwise than they would be written today.
    pub stale: usize,
    /// Of those, the first that could not be opened, and why.
    pub failed: Option<(String, SealError)>,
}
