//! Plug-ins of volumes.
mod protection;
mod resize;

pub use protection::StorageObjectInUseProtection;
pub use resize::PersistentVolumeClaimResize;
