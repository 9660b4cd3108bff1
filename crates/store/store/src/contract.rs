//! The trait that every engine fulfils, and its vocabulary.
use crate::{Body, Entry, Event, Sealed};
use async_trait::async_trait;
use futures::stream::BoxStream;
use skiff_meta::Revision;
use std::sync::Arc;
use thiserror::Error;

#[derive(Debug, Error, Clone)]
pub enum StoreError {
    /// The compare of a compare-and-swap failed; `current` is what is there (None: nothing).
    #[error("key {key} is at revision {}", current.as_ref().map_or(0, |e| e.revision.0))]
    Conflict { key: String, current: Option<Box<Entry>> },
    /// The revision asked for is gone.
    #[error("revision {asked} is compacted, the oldest is {oldest}")]
    Compacted { asked: Revision, oldest: Revision },
    /// The revision asked for is not there yet.
    #[error("revision {asked} is ahead of the store, which is at {current}")]
    Future { asked: Revision, current: Revision },
    /// A watcher did not keep up and was dropped: it must list again.
    #[error("the watcher of {prefix} fell behind and was dropped")]
    Slow { prefix: String },
    /// The disk has no room: nothing was written, reads go on.
    #[error("the datastore's disk is full ({step})")]
    Full { step: &'static str },
    #[error("the datastore failed ({step}): {why}")]
    Broken { step: &'static str, why: Arc<str> },
    #[error("the datastore is shutting down")]
    Closed,
}

/// What must be true of the key for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    At(Revision),
}

/// Where a key is kept, decided by the write that creates it and kept by all later ones. Volatile writes are
/// acknowledged at once and reach the disk by checkpoint: a crash may take the last of them back (never the revisions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Durable,
    Volatile,
}

#[derive(Clone, Debug)]
pub struct Write {
    pub key: Arc<str>,
    pub expect: Expect,
    /// The new state, or None to delete.
    pub body: Option<Body>,
    pub tier: Tier,
}

#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Keys that start so; end it with `/`.
    pub prefix: String,
    /// Only keys strictly behind this one.
    pub after: Option<String>,
    /// At the most so many; 0 for all.
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// The store's revision that this page shows.
    pub revision: Revision,
    /// Whether entries are left behind the last one.
    pub more: bool,
    /// How many are left behind the last one (exact).
    pub remaining: usize,
}

impl Page {
    /// The first `limit` (0: all) of `entries`, which are sorted and all that there is.
    pub fn cut(mut entries: Vec<Entry>, limit: usize, revision: Revision) -> Self {
        let keep = if limit == 0 { entries.len() } else { limit.min(entries.len()) };
        let remaining = entries.len() - keep;
        entries.truncate(keep);
        Page { entries, revision, more: remaining > 0, remaining }
    }
}

/// Changes in commit order; ends after an error.
pub type Watch = BoxStream<'static, Result<Arc<Event>, StoreError>>;

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The revision of the last commit that readers can see.
    fn revision(&self) -> Revision;
    /// The oldest revision that [`Store::list_at`] can still serve: what the last compaction kept. A watch reaches back
    /// no further, and maybe less far; its `Compacted` tells its own floor.
    fn oldest(&self) -> Revision;
    /// The present state of one key.
    fn get(&self, key: &str) -> Option<Entry>;
    /// A consistent page of the present state.
    fn list(&self, query: &ListQuery) -> Page;
    /// How many objects are under a prefix, and their bytes: for metrics.
    fn count(&self, prefix: &str) -> (usize, u64) {
        let all = self.list(&ListQuery { prefix: prefix.to_owned(), ..Default::default() }).entries;
        (all.len(), all.iter().map(|e| e.bytes.len() as u64).sum())
    }
    /// Bytes on disk; None when there is no disk.
    fn size(&self) -> Option<u64> {
        None
    }
    /// The same at an earlier revision. Errors: `Compacted`, `Future`, `Broken`.
    async fn list_at(&self, query: &ListQuery, at: Revision) -> Result<Page, StoreError>;
    /// Compare and swap. Returns the new entry (of a deletion: the last state, restamped) once durable and visible.
    async fn commit(&self, write: Write) -> Result<Entry, StoreError>;
    /// Every change behind `after` to keys under `prefix`, which is empty (all) or ends with `/` (`pods/`, `pods/ns/`);
    /// anything else names one key, exactly. Errors: `Compacted`, `Future`, `Closed`.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError>;
    /// Waits until readers see `revision`; the caller bounds the wait.
    async fn wait_for(&self, revision: Revision);
    /// Forgets what was superseded at or before `revision`: afterwards `revision` itself can still be listed and
    /// watched from, nothing older. Present state stays. One step back is no error.
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;
    /// Comes back when who commits has come to it, behind the commits that wait: changes nothing, writes nothing; the
    /// caller bounds the wait. Errors: `Closed`.
    async fn answers(&self) -> Result<(), StoreError>;
    /// Looks how values at rest are sealed, and with `again` seals those anew that lie otherwise than they would be
    /// written today, in small steps between commits: revisions and watchers don't notice. An engine that keeps nothing
    /// at rest has nothing to tell.
    async fn sealed(&self, _again: bool) -> Result<Sealed, StoreError> {
        Ok(Sealed::default())
    }
    /// Flushes the volatile tier and closes. Later commits get `Closed`.
    async fn close(&self) -> Result<(), StoreError>;
}
