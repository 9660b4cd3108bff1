//! A folder of manifests that the cluster follows, as k3s users know it.
//!
//! Every `*.yaml`, `*.yml` and `*.json` file of the folder is applied (server-side, forced, under one field manager) at
//! start and whenever its content changes. What a file no longer names is pruned; a file that goes takes its objects
//! with it. What was applied is remembered in ConfigMaps in kube-system, so that pruning works across restarts. A bad
//! file harms only itself: its problems are told once, in the log and as Events of the file's record, and it is tried again
//! when it changes, or after a pause that grows.
//!
//! `attempts`, `documents` and `plan` are pure; [`run`] is the loop.

mod attempts;
mod documents;
mod plan;
mod run;

pub use documents::{Document, DocumentError, documents};
pub use plan::{Identity, stale};
pub use run::{Folder, run};
