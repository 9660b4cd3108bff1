//! SPDY/3.1, as far as Kubernetes uses it: streams with headers, data, half-close, reset, ping.
//!
//! Its clients neither send nor obey flow-control windows, so a slow reader holds the connection back instead.

mod connection;
mod frame;
mod headers;

pub use connection::{Incoming, Spdy, Stream, serve};
pub use frame::FrameError;

#[cfg(test)]
pub(crate) use connection::client;
