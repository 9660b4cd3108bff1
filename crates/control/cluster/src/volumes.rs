//! Persistent volumes: binding of claims, protection of what is in use, and the `local-path` provisioner.
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>

mod binder;
mod classes;
mod ephemeral;
mod expand;
mod local;
mod protect;

pub(crate) use binder::start as start_binder;
pub(crate) use classes::start as start_class_protection;
pub(crate) use ephemeral::start as start_ephemeral;
pub(crate) use expand::start as start_expand;
pub(crate) use local::start as start_provisioner;
pub use local::{PROVISIONER, STORAGE_PATH, reclaim_on_node};
pub(crate) use protect::{start_claims as start_claim_protection, start_volumes as start_volume_protection};
