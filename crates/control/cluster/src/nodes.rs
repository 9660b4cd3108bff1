//! Nodes: their parts of the pod network, taints by condition, eviction from the dead, leftover pods.

mod beat;
mod evict;
mod gc;
mod ipam;
mod lifecycle;
mod ttl;
mod zones;

pub(crate) use evict::start as start_eviction;
pub(crate) use gc::start as start_pod_gc;
pub(crate) use ipam::start as start_ipam;
pub(crate) use lifecycle::start as start_lifecycle;
pub(crate) use ttl::start as start_ttl;
