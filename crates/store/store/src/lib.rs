//! The contract of a datastore with etcd's semantics.
//!
//! One revision counter for the whole store; every commit raises it by one and never reuses a number, not even after
//! a crash. A commit that returned is durable (unless its key lies in the volatile tier). Reads of the present state
//! are answered from memory: the engine keeps exactly one copy of each object, its canonical JSON bytes with
//! `resourceVersion` inside, beside a small [`Row`]. Watches come from the commit, never from polling.
//!
//! Users and engines both depend on this crate; only the binary knows which engine runs. Engines prove themselves by
//! the [`suite`]; [`memory`] is the fake for tests of what stands above. This crate knows nothing of groups, kinds or HTTP.

mod contract;
mod event;
pub mod memory;
mod object;
mod sealing;
pub mod suite;

pub use contract::{Expect, ListQuery, Page, Store, StoreError, Tier, Watch, Write};
pub use event::{Event, EventKind};
pub use object::{Body, Entry, Indexer, Row};
pub use sealing::{SealError, Sealed, Sealing, Unsealed};
