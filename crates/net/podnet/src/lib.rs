//! The pod network of one node.
//!
//! Pods hang on point-to-point veth pairs with host routes, not on a bridge: all of a pod's traffic is routed through the
//! host's netfilter hooks, so a Service between two pods of one node works, with the client's address kept, and neither br_netfilter
//! nor hairpin mode nor proxy ARP is needed. A pod's `eth0` has its address alone; its gateway is 169.254.1.1 (fe80::1),
//! known to it by a permanent neighbour entry, so that no broadcast is ever sent.
//!
//! Between nodes: vxlan with routes and forwarding entries computed from the list of nodes ([`plan_overlay`]), or plain routes
//! when the other node is on the same network. The tunnel's MAC address follows from the node's address, so nothing needs to be exchanged.
//!
//! A dummy link carries the cluster's DNS address on every node, so the node's DNS server answers pods by the Service's address without
//! NAT; and the route of the Service network, so that the host reaches Services without a default route.
//!
//! [`PodNet`] is the [`skiff_cri::Network`] of the embedded runtime. Its allocations survive a restart in one small file.
//! Everything that it makes carries the configured prefix; [`PodNet::cleanup`] removes it all.
//!
//! Not here: Service rules and NetworkPolicy, other CNI plugins, and bandwidth limits.

mod allocations;
mod error;
mod local_ports;
mod overlay;
mod pod;
mod podnet;
mod rules;

pub use allocations::{Allocation, Allocations, MappedPort};
pub use error::PodNetError;
pub use local_ports::LocalPorts;
pub use overlay::{NodeNet, Overlay, OverlayPlan, OverlayRoute, apply_overlay, plan_overlay, tunnel_mac};
pub use podnet::{Config, PodNet};
