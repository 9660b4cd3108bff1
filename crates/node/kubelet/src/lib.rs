//! The node agent: runs the pods that are bound to its node, and tells the API how they are.
//!
//! [`Kubelet::start`] wires the parts; each is a small loop around a pure decision of skiff-pod:
//!
//! ```text
//!   API informer, manifest folder ──▶ pods (one slot a pod) ──▶ worker (one task a pod) ──▶ runtime, images, volumes
//!   runtime events, probes, timers, references ──wake──┘              │
//!                                                                     └──▶ status writer ──▶ API (only what changed)
//!   node: registration, conditions, lease     keep: image GC, orphans, log rotation     server: logs, exec, stats
//! ```
//!
//! A restart finds every container again by the pod's uid in its labels and touches none of them. What this crate
//! deliberately does not do: decide (skiff-pod does), run programs (the runtime does), move bytes of volumes.

mod agent;
mod check;
mod config;
mod devices;
mod grpc;
mod hook;
mod keep;
mod kubelet;
mod logs;
mod machine;
mod message;
mod network_health;
mod node;
mod node_volumes;
mod pod_certificates;
mod pods;
mod prober;
mod pull;
mod references;
mod rotate;
mod server;
mod static_pods;
mod stats;
mod status;
mod trust_anchors;
mod used_volumes;
mod volumes;
mod worker;

pub use config::{Config, Eviction, ImageGc};
pub use kubelet::{Handle, Kubelet, Parts};
pub use network_health::NetworkHealth;
pub use node_volumes::{ImageMounts, NodeVolumes};
pub use server::{Access, Gate, Peer};
pub use volumes::{MountedVolumes, NoVolumes, VolumeError, Volumes};
