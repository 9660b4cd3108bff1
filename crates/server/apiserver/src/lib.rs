//! HTTP, and nothing else: what a request means and how an answer is written.
//!
//! TLS → authenticate → audit → priority and fairness → route → (authorise paths) → a [`skiff_request::Call`] for the registry → negotiate → bytes.
//! Resources, validation and storage are the registry's. Connections into pods are piped to the kubelet as raw bytes;
//! group versions that an APIService gives to another server go on to it (`aggregation`).
//!
//! [`Server::start`] is the door; [`Handle`] ends it.

mod aggregation;
mod answer;
mod aside;
mod asked;
mod audited;
mod bootstrap;
mod compress;
mod config;
mod connect;
mod discovery;
mod documents;
mod error;
mod flow;
mod health;
mod identity;
mod inbound;
mod listen;
mod lists;
mod metrics;
mod negotiate;
mod openapi;
mod passage;
mod pieces;
mod route;
mod server;
mod sparse;
mod stream;
mod table;
mod tls;
mod upkeep;
mod usage;
mod version;
mod wire;
mod zpages;

pub use aggregation::ProxyIdentity;
pub use bootstrap::{Facts, bootstrap, keep};
pub use config::{Config, Document};
pub use connect::KubeletTls;
pub use health::Check;
pub use server::{Handle, Server, StartError};
pub use tls::{Tls, TlsError, TlsMaterial};
