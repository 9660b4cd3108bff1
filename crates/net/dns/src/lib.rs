//! Cluster DNS: the Kubernetes DNS specification 1.1 for one zone, everything else forwarded.
//!
//! [`Zone`] is an index of Services and EndpointSlices, updated object by object; no object is kept. [`answer`] is pure: an index and
//! a question give records, NXDOMAIN, NODATA, or "not ours". [`Server`] answers over UDP and TCP and forwards foreign names to
//! the node's upstream servers, with a small bounded cache. It runs on every node at the DNS Service's address, which the pod network
//! gives to a link of the node: no NAT, no hop to another node, and it works while the API is away.
//!
//! Messages are hickory's; the sockets are ours: a forwarded query stays the bytes that it was, and nothing is kept per client.
//!
//! Not here: watching the cluster, stub domains, custom hosts, DNSSEC.

mod answer;
mod input;
mod server;
mod upstream;
mod zone;

pub use answer::{Answer, answer};
pub use input::{DnsEndpoint, DnsPort, DnsService, DnsSlice, InputError};
pub use server::{Server, ServerConfig, ServerError};
pub use upstream::upstreams_of;
pub use zone::{Index, Zone};
