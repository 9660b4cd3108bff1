//! The cluster as every component reaches it.
//!
//! A [`Client`] speaks through a [`Transport`]: [`Local`] hands calls to the server in the same process (no
//! serialisation, the store's own bytes) under a fixed identity, the TLS transport sends them over HTTP. Both pass
//! authorisation and admission. Objects are bytes; [`Client::get`] and its like make typed views for a moment.

mod api;
mod counts;
#[cfg(feature = "fake")]
pub mod fake;
mod local;
mod resource;
#[cfg(feature = "tls")]
pub mod tls;
mod watch;

pub use api::{Client, DeleteOptions, ListParams, Page, PatchBody, Preconditions};
pub use counts::metrics;
pub use local::Local;
pub use resource::{Namespaced, Object, decode, resource_of, view};
pub use skiff_request::{Answer, Call, PatchType, Target, User, Verb, WatchEvent, WatchKind, WatchStream};
pub use watch::typed;

use skiff_meta::Status;

/// Carries calls to the API server.
#[async_trait::async_trait]
pub trait Transport: Send + Sync + 'static {
    async fn call(&self, call: Call) -> Result<Answer, Status>;
}
