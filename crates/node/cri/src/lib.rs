//! The contract between the node agent and whatever runs its containers.
//!
//! Modelled on the Container Runtime Interface v1, in small Rust types of our own instead of protobuf messages:
//!
//! * [`Runtime`] makes sandboxes (a pod's shared namespaces) and containers in them, and *pushes* what happens to
//!   them as [`RuntimeEvent`]s, so that nobody has to poll;
//! * [`Images`] keeps images, [`Snapshots`] turns one into a root file system for a container;
//! * [`Network`] gives a sandbox's network namespace its addresses; the runtime calls it, the network layer has it.
//!
//! Every configuration type can be serialised, because a runtime must find its containers again after a restart.
//! `fake` is a scriptable runtime in memory, `suite` the behaviour that every implementation has to show.
//! This crate decides nothing about pods: restart policies, probes and back-off live in the layers above.

mod container;
mod error;
mod event;
pub mod fake;
mod ids;
mod image;
mod network;
mod resources;
mod runtime;
mod sandbox;
mod security;
mod stats;
mod stream;
pub mod suite;

pub use container::{ContainerConfig, ContainerFilter, ContainerMetadata, ContainerState, ContainerStatus, Device, ExitReason, Mount, Propagation};
pub use error::{Result, RuntimeError};
pub use event::{EventStream, RuntimeEvent};
pub use ids::{ContainerId, ImageId, SandboxId};
pub use image::{Image, ImageConfig, Images, PreparedRootfs, Progress, PullAuth, Snapshots, VOLUME_SNAPSHOT};
pub use network::{HostPort, Network, PodIps, Protocol, SandboxNet};
pub use resources::{HugepageLimit, Resources};
pub use runtime::{Runtime, RuntimeStatus, Version};
pub use sandbox::{DnsConfig, PodMetadata, SandboxConfig, SandboxFilter, SandboxState, SandboxStatus};
pub use security::{Capabilities, IdMapping, Namespaces, PidMode, Seccomp, Security, SupplementalGroupsPolicy, User, UserNamespace};
pub use stats::{ContainerStats, CpuStats, FsStats, MemoryStats, SandboxStats};
pub use stream::{AsyncDuplex, ExecOptions, ExecOutput, ExecStream, TerminalSize};
