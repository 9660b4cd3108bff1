//! Services to an nftables ruleset: pure, with a thin shell that applies it.
//!
//! [`service_rules`] is a function from [`Service`]s, [`Slice`]s and [`NodeFacts`] to a [`skiff_nft::Ruleset`], with the behaviour
//! of kube-proxy's nftables mode: one lookup per packet in a verdict map, then a chain per Service port. [`ServiceProxy`] keeps
//! what the kernel has and applies only the difference, in one transaction; a change of one Service touches only its own elements
//! and chains. [`Service::from_json`] and [`Slice::from_json`] read an object's bytes.
//!
//! Not here: watching the cluster, serving health check node ports (the facts are in [`Health`]), pods' own addresses, and
//! node ports on loopback addresses, which kube-proxy's nftables mode doesn't serve either; [`local_node_ports`] says which there
//! would be, for a listener.

mod endpoints;
mod input;
mod proxy;
mod services;
mod skeleton;

pub use endpoints::{Usable, usable};
pub use input::{Endpoint, InputError, NodeFacts, Service, ServicePort, Slice, SlicePort};
pub use proxy::{Health, ServiceProxy, Snapshot, SyncOutcome, health};
pub use services::{local_node_ports, service_rules};
