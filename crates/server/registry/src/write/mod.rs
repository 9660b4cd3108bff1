//! The one write path.
//!
//! decode strictly → default → mutate → prepare (the row's strategy) → validate → managed fields → canonical bytes →
//! compare-and-swap. The verbs differ in where the new state comes from; [`commit`] is the same for all of them.

mod addresses;
mod apply;
mod collection;
mod create;
mod decode;
mod delete;
mod device_access;
mod eviction;
mod hollow;
mod metadata;
mod options;
mod patch;
mod persist;
mod scale;
pub(crate) mod services;
mod subresource;
mod update;

pub(crate) use options::WriteOptions;

use skiff_meta::{Reason, Status};
use skiff_store::StoreError;

/// How often a write that lost a race is made again on the new state, as upstream's patch handler does.
const RACES: usize = 5;

/// Failures of the store that no verb gives a meaning of its own.
pub(crate) fn store_failure(e: StoreError) -> Status {
    match e {
        StoreError::Full { .. } => Status::new(Reason::InternalError, format!("etcdserver: mvcc: database space exceeded: {e}")),
        StoreError::Closed => Status::new(Reason::ServiceUnavailable, "the server is shutting down"),
        e => Status::internal(e),
    }
}
