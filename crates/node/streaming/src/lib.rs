//! Streams between a client and a container, over one HTTP connection that has switched protocols.
//!
//! ```text
//!   exec, attach   ── SPDY/3.1 streams, or WebSocket channels (v1, v4, v5) ──▶ remotecommand ──▶ ExecStream
//!   port-forward   ── SPDY/3.1, alone or inside a WebSocket; WebSocket channels ──▶ portforward ──▶ AsyncDuplex
//! ```
//!
//! [`negotiate`] reads the request's headers and says what to answer with 101; the served half then takes the raw
//! connection. Every decoder here has a limit; nothing is buffered without bound. The server's side is whole, of the
//! client's side there is what tests need.
//! Specified by the SPDY/3.1 draft, RFC 6455 and `k8s.io/apimachinery/pkg/util/remotecommand`.

mod negotiate;
pub mod portforward;
pub mod remotecommand;
pub mod spdy;
pub mod websocket;
mod wire;

pub use negotiate::{Negotiated, Purpose, Refused, Transport, negotiate};
pub use remotecommand::Wanted;
