//! The embedded container runtime: the contract of `skiff-cri` over one shim for each pod.
//!
//! ```text
//!   kubelet ── Runtime ──> EmbeddedRuntime ── protocol ──> shim (a pod) ──> containers
//!                              │ state: <run>/sandboxes/<id>/{sandbox.json, containers/<id>/{container.json, exit.json}}
//! ```
//!
//! Everything that has to survive a restart of the daemon lies in the run folder; [`EmbeddedRuntime::open`] finds it
//! again and reconnects to the shims. A record is written before the step that it announces, so a crash at any instant
//! leaves something that can be taken up or cleaned away. After a reboot (another boot id) the run folder is stale and
//! emptied.
//!
//! `spec` and `user` turn configurations into what the kernel is told; they are pure. This crate makes no network (the
//! `Network` port does) and unpacks no image (the `Snapshots` port does).

mod client;
mod config;
mod containers;
mod contract;
mod files;
mod launch;
mod recovery;
mod sandboxes;
mod spec;
mod state;
mod stats;
mod streams;
mod terminal;
mod user;
mod watch;

pub use config::Config;
pub use state::EmbeddedRuntime;
