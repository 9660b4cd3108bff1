//! Links, addresses, routes, neighbours, sysctls and network namespaces of Linux, over netlink.
//!
//! [`Socket`] is a blocking netlink socket: the kernel answers a request before `send` returns, so there is nothing to
//! wait for and no task to keep. It stays in the namespace in which it was opened, which makes work in another
//! namespace one call: [`Route::open_in`]. [`Route`] speaks rtnetlink; every `ensure_*` is idempotent and says
//! nothing when the wanted state is there, every `remove_*` is content when the thing is gone already.
//! [`Message`] and [`Attributes`] are the codec, which the nftables crate uses too.
//!
//! Not here: which links, routes and addresses a node wants (the pod network decides that), and nftables itself.

mod address;
mod attributes;
mod error;
mod link;
mod message;
mod neighbour;
mod netns;
mod route;
mod socket;
mod sysctl;

pub use attributes::{Attribute, Attributes};
pub use error::{NetlinkError, Result};
pub use link::{Link, LinkKind, Mac, VxlanSpec};
pub use message::Message;
pub use neighbour::Neighbour;
pub use netns::{in_netns, make_netns, remove_netns};
pub use route::{Prefix, Route, RouteSpec};
pub use socket::{Protocol, Reply, Socket};
pub use sysctl::{read_sysctl, write_sysctl};
