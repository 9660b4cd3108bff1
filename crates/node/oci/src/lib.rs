//! Containers out of system calls: make one, run something in one, measure and end it.
//!
//! A [`Spec`] says everything about a container with ids, paths and bits already resolved; this crate carries it out and
//! decides nothing. [`launch::create`] and [`launch::exec`] fork, so they belong into a process of a single thread:
//! the shim. [`cgroup`] only reads and writes files and may be used anywhere.
//!
//! Left out on purpose: user namespaces, AppArmor and SELinux labels, rlimits, the device filter of cgroup v2.

pub mod cgroup;
mod devices;
mod error;
mod init;
pub mod launch;
mod mask;
mod rootfs;
pub mod sandbox;
pub mod seccomp;
mod spec;

pub use error::{Error, Result};
pub use spec::{Device, Mount, Namespaces, PidNamespace, Process, Propagation, Resources, Seccomp, Spec};
