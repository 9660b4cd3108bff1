//! What every engine keeps in memory: the present state, the ring of recent events, and who watches.
//!
//! An engine decides and persists; then it [publishes](Cache::publish) the events of a whole group at once. From that
//! moment reads see it and watchers get it, all of them the very same `Arc<Event>`. Reads of the present state take a
//! short shared lock, and never wait for watchers. Nothing here writes to a disk or gives out revisions.
//!
//! - [`Present`]: entries sorted by key in copy-on-write chunks; a list takes the chunks, not the lock.
//! - `Ring`: the last events, bounded by count and bytes; what a watch can start from, and what a list of the recent
//!   past is undone by.
//! - `Hub`: watchers by prefix; each has a bounded queue of shared events, and who lets it fill is dropped.

mod cache;
mod hub;
mod present;
mod ring;

pub use cache::{Cache, Limits};
pub use present::{Present, Snapshot};
