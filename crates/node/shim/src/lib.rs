//! The process that supervises a pod's containers.
//!
//! One for each pod, a re-execution of the same binary ([`main_if_shim`] comes first in `main`), one thread, no async
//! runtime. It makes the pod's namespaces, starts containers, copies their output into log files, and keeps their exit
//! codes (`exit.json`, by temporary file and rename), whether or not a daemon is there. Daemons come and go over a
//! socket in the pod's folder and speak [`protocol`], whose version is agreed on first.
//!
//! It keeps no state that a daemon could not read from its folder or ask for, and decides nothing: no restart, no
//! grace period, no removal of what it made except processes.

mod attachment;
mod connection;
mod container;
mod log;
pub mod protocol;
mod server;
mod start;

pub use start::{ARGUMENT, main_if_shim};
