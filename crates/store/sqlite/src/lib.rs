//! The embedded datastore: SQLite behind one writer thread.
//!
//! Reads never come here: the present state is in [`skiff_cache`]. A write is queued to the writer thread, which takes
//! all that wait, decides each compare-and-swap against memory, appends the rows in one transaction with one fsync
//! (group commit), and then publishes the group's events and answers the writers.
//!
//! On disk (`state.db`, a rollback journal, synchronous=FULL, locked for one process, and before it `state.log`, where commits are safe until
//! many of them go into the database at once, see [`journal`]):
//! - `history`: one row a durable commit, rowid = revision, append-only, no further index. What a row was superseded by
//!   is known in memory ([`garbage`]), so compaction deletes by rowid, in small steps, once there is enough to delete:
//!   what is compacted in name only may be readable again after a restart.
//! - `volatile`: the volatile tier by key, written by checkpoint only.
//! - `state`: the compacted revision, the mark up to which revisions are reserved ([`counter`]), so that the counter goes on
//!   above whatever a crash took back, and how often the journal was moved here.
//!
//! Values are sealed as [`skiff_store::Sealing`] says, and sealed anew when that changed ([`reseal`]). Not here: keys, who
//! may write what, what is in an object.

mod config;
mod counter;
mod disk;
mod garbage;
mod group;
mod journal;
mod load;
mod open;
mod reseal;
mod store;
mod volatile;
mod writer;

pub use config::Config;
pub use open::OpenError;
pub use store::Sqlite;
