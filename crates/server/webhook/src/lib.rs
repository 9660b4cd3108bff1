//! Asking a webhook: HTTPS, its authority, a time limit, a size limit, and connections that are kept.
//!
//! What is asked and what an answer means is the asker's: admission's reviews, conversions of custom resources. Here is
//! only how to get there. [`Place`] reads the client configuration that all declarations of webhooks share; a [`Client`]
//! sends. Errors are texts in the words of upstream's Go client, since askers show them to users.

mod client;
mod place;
mod trust;

pub use client::{Client, Request, refused};
pub use place::{At, Endpoint, Place, Resolve};
