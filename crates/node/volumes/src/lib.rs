//! A pod's volumes: made ready below the pod's folder, kept up to date, taken away.
//!
//! ```text
//! pod + Sources (data, read by the caller) ──plan──▶ VolumePlan per volume ──set_up──▶ folders, mounts, files
//!                                                                            sub_path ─▶ bind mounts of subPaths
//!                                                                            tear_down ▶ nothing left
//! ```
//!
//! * [`plan`] is pure: which folder, which medium, which files with which modes, or why not, in upstream's words.
//! * [`set_up`] carries plans out. What is right already is left alone, so it is called at every sync.
//! * [`sub_path`] makes one path inside a volume mountable without ever following a link out of it.
//! * [`tear_down`] needs no memory of what was set up: it reads the mount table and the folders, so that a restart
//!   loses nothing.
//! * [`PodVolumes`] joins these with a [`Reader`] of the API's objects and a cache of service account tokens.
//!
//! The layout is upstream's: `<pod>/volumes/kubernetes.io~<plugin>/<name>`, `<pod>/volume-subpaths/<volume>/<container>/<n>`
//! and `<pod>/plugins/kubernetes.io~empty-dir/<name>/ready`.
//!
//! Not here: the API, containers, attaching of network disks, CSI drivers, formatting of block devices.

mod apply;
mod atomic;
mod certificates;
mod claim;
mod error;
mod host_path;
mod mounts;
mod ownership;
mod payload;
mod plan;
mod pod_volumes;
mod sources;
mod subpath;
mod sys;
mod teardown;
#[cfg(test)]
mod testing;
mod tokens;
mod usage;

pub use apply::{Mounted, set_up};
pub use certificates::{Answer, Asked, Bundle};
pub use error::{SubPathError, TearDownError, VolumeError};
pub use host_path::PathKind;
pub use mounts::container_mounts;
pub use payload::{FileProjection, Payload};
pub use plan::{Files, Medium, VolumeAction, VolumePlan, plan};
pub use pod_volumes::{PodVolumes, Reader};
pub use sources::{Sources, TokenKey, Wanted, wanted, wanted_volumes};
pub use subpath::sub_path;
pub use teardown::{FoundVolume, found, orphans, tear_down};
pub use tokens::{Token, Tokens};
pub use usage::{VolumeUsage, empty_dir_usage, usage};
