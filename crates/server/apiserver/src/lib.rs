//! HTTP, and nothing else: what a request means and how an answer is written.
//!
//! TLS → authenticate → route → (authorise paths) → a [`skiff_request::Call`] for the registry → negotiate → bytes.
//! Resources, validation and storage are the registry's. Connections into pods are piped to the kubelet as raw bytes.
//!
//! [`Server::start`] is the door; [`Handle`] ends it.

mod answer;
mod discovery;
mod error;
mod health;
mod identity;
mod inbound;
mod negotiate;
mod openapi;
mod route;
mod server;
mod stream;
mod table;
mod tls;
mod version;
mod wire;

pub use server::{Config, Handle, Server, StartError};
pub use tls::{Tls, TlsError, TlsMaterial};
