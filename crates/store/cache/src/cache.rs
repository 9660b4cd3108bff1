//! The three parts together, under two locks.
//!
//! `live` (ring and hub) is taken by publishers, watches and lists of the past; `present` inside of it by publishers,
//! and alone by reads. So reads of the present wait only while a group's entries are put in.
use crate::hub::{Hub, Reader, covers, wake};
use crate::present::{Present, Snapshot};
use crate::ring::Ring;
use futures::StreamExt;
use parking_lot::{Mutex, RwLock};
use skiff_meta::Revision;
use skiff_store::{Entry, Event, EventKind, ListQuery, Page, StoreError, Watch};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Bounds of what is kept beside the present state.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub ring_events: usize,
    pub ring_bytes: usize,
    /// Events that a watcher may leave unread before it is dropped.
    pub watcher_queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ring_events: 50_000, ring_bytes: 16 << 20, watcher_queue: 4096 }
    }
}

pub struct Cache {
    present: RwLock<Visible>,
    live: Arc<Mutex<Live>>,
    revision: watch::Sender<Revision>,
    queue: usize,
}

struct Visible {
    present: Present,
    revision: Revision,
}

struct Live {
    ring: Ring,
    hub: Hub,
}

impl Cache {
    /// Begins with `entries` (sorted by key, each key once) as the state at `revision`, and an empty ring.
    pub fn new(limits: Limits, revision: Revision, entries: Vec<Entry>) -> Self {
        let ring = Ring::new(limits.ring_events, limits.ring_bytes, revision);
        Self {
            present: RwLock::new(Visible { present: Present::from_sorted(entries), revision }),
            live: Arc::new(Mutex::new(Live { ring, hub: Hub::default() })),
            revision: watch::Sender::new(revision),
            queue: limits.watcher_queue,
        }
    }
    pub fn revision(&self) -> Revision {
        self.present.read().revision
    }
    pub fn len(&self) -> usize {
        self.present.read().present.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.present.read().present.get(key).cloned()
    }
    pub fn list(&self, query: &ListQuery) -> Page {
        self.snapshot(query).page(query)
    }
    /// How many entries are under a prefix, and their bytes.
    pub fn count(&self, prefix: &str) -> (usize, u64) {
        self.snapshot(&ListQuery { prefix: prefix.to_owned(), ..Default::default() }).count(prefix)
    }
    /// What a list needs, taken under the lock; cut it with [`Snapshot::page`].
    pub fn snapshot(&self, query: &ListQuery) -> Snapshot {
        let visible = self.present.read();
        visible.present.snapshot(&query.prefix, query.after.as_deref(), visible.revision)
    }
    /// The oldest revision that a watch can start behind.
    pub fn floor(&self) -> Revision {
        self.live.lock().ring.floor()
    }
    /// The page at `at`, or None when the ring does not reach back so far. Error: `Future`.
    pub fn list_at(&self, query: &ListQuery, at: Revision) -> Result<Option<Page>, StoreError> {
        let live = self.live.lock();
        let snapshot = self.snapshot(query);
        if at > snapshot.revision {
            return Err(StoreError::Future { asked: at, current: snapshot.revision });
        }
        if at < live.ring.floor() {
            return Ok(None);
        }
        let mut undo: BTreeMap<Arc<str>, Option<Entry>> = BTreeMap::new();
        for event in live.ring.behind(at).filter(|e| e.entry.key.starts_with(&query.prefix)) {
            undo.entry(event.entry.key.clone()).or_insert_with(|| event.previous.clone());
        }
        drop(live);
        Ok(Some(undone(&snapshot, undo, query, at)))
    }
    /// Makes a group's events visible, in commit order, all at once.
    pub fn publish(&self, events: &[Arc<Event>]) {
        let Some(last) = events.last().map(|e| e.revision()) else { return };
        let mut touched = Vec::new();
        let mut live = self.live.lock();
        {
            let mut visible = self.present.write();
            for event in events {
                match event.kind {
                    EventKind::Deleted => drop(visible.present.remove(&event.entry.key)),
                    _ => visible.present.put(event.entry.clone()),
                }
            }
            visible.revision = last;
        }
        for event in events {
            live.ring.push(event.clone());
            live.hub.publish(event, &mut touched);
        }
        drop(live);
        self.revision.send_replace(last);
        wake(touched);
    }
    /// See `Store::watch`.
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        let mut live = self.live.lock();
        let current = self.revision();
        if live.hub.is_closed() {
            return Err(StoreError::Closed);
        }
        if after > current {
            return Err(StoreError::Future { asked: after, current });
        }
        if after < live.ring.floor() {
            return Err(StoreError::Compacted { asked: after, oldest: live.ring.floor() });
        }
        let past = live.ring.behind(after).filter(|e| covers(prefix, &e.entry.key)).cloned().collect();
        let watcher = live.hub.register(prefix, current, past, self.queue);
        let shared = self.live.clone();
        let leave = Box::new(move |watcher: &_| shared.lock().hub.unregister(watcher));
        Ok(Reader { watcher, leave }.boxed())
    }
    pub async fn wait_for(&self, revision: Revision) {
        let mut seen = self.revision.subscribe();
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = seen.wait_for(|now| *now >= revision).await;
    }
    /// Drops the ring's events at and before `revision`.
    pub fn forget(&self, revision: Revision) {
        self.live.lock().ring.forget(revision);
    }
    /// Ends every watch; reads go on.
    pub fn close(&self) {
        let mut touched = Vec::new();
        self.live.lock().hub.close(&mut touched);
        wake(touched);
    }
}

/// The page of `snapshot` with `undo` laid over it: each key's state at `at`, None where it was absent.
fn undone(snapshot: &Snapshot, undo: BTreeMap<Arc<str>, Option<Entry>>, query: &ListQuery, at: Revision) -> Page {
    if undo.is_empty() {
        return Page { revision: at, ..snapshot.page(query) };
    }
    let wanted = |e: &Entry| query.after.as_deref().is_none_or(|after| &*e.key > after);
    let mut entries: Vec<Entry> = snapshot.entries(query).filter(|e| !undo.contains_key(&e.key)).cloned().collect();
    entries.extend(undo.into_values().flatten().filter(wanted));
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Page::cut(entries, query.limit, at)
}
