//! Encryption at rest: which values the datastore seals, with what, and how that changes without a stop.
//!
//! From the first start Secrets are sealed with keys of the server's own ([`Own`], a file of mode 0600). Upstream's
//! EncryptionConfiguration ([`Configured`]) decides instead for the resources that it names; Secrets that it does not
//! name stay with the own keys. [`Sealer`] holds both, opens what any of them ever sealed, and takes new settings while it
//! runs; who changes them asks the store to seal stale values anew.
//!
//! Envelopes carry their scheme in front: `SKS1` for the own keys, upstream's `k8s:enc:<provider>:v1:<key>:` for the
//! others, with the object's key in the datastore as the associated data where the scheme has one.
//! <https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/>
//!
//! Not here: files that are watched, the rewriting of values (the engine), and the commands.

mod config;
mod kms;
mod local;
mod own;
mod sealer;

pub use config::{ConfigError, Configured};
pub use own::{Own, OwnError};
pub use sealer::Sealer;
