//! A datastore in memory, for tests of whatever stands above the store.
//!
//! It has the full semantics (history, compaction, watches, slow watchers) in the plainest form, so that it can also
//! be the model that engines are compared with. It is not made for speed, and keeps nothing over a restart.
use crate::{Entry, Event, EventKind, Expect, Indexer, ListQuery, Page, Store, StoreError, Watch, Write};
use async_trait::async_trait;
use futures::channel::{mpsc, oneshot};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use skiff_meta::Revision;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The fake.
pub struct Memory {
    indexer: Arc<dyn Indexer>,
    queue: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    revision: Revision,
    compacted: Revision,
    present: BTreeMap<Arc<str>, Entry>,
    events: Vec<Arc<Event>>,
    watchers: Vec<Watcher>,
    waiters: Vec<(Revision, oneshot::Sender<()>)>,
    closed: bool,
}

struct Watcher {
    prefix: String,
    events: mpsc::UnboundedSender<Result<Arc<Event>, StoreError>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    queued: AtomicUsize,
    slow: AtomicBool,
}

impl Memory {
    pub fn new(indexer: Arc<dyn Indexer>) -> Self {
        Self::with_queue(indexer, 4096)
    }
    /// `queue`: how many events a watcher may leave unread before it is dropped.
    pub fn with_queue(indexer: Arc<dyn Indexer>, queue: usize) -> Self {
        Self { indexer, queue, state: Mutex::default() }
    }
}

/// Whether a watch on `prefix` sees `key`.
fn covers(prefix: &str, key: &str) -> bool {
    if prefix.is_empty() || prefix.ends_with('/') { key.starts_with(prefix) } else { key == prefix }
}

/// Cuts the page that `query` asks for out of all entries, which come in the order of their keys.
fn page<'a>(all: impl Iterator<Item = &'a Entry>, query: &ListQuery, revision: Revision) -> Page {
    let asked = |e: &&Entry| e.key.starts_with(&query.prefix) && query.after.as_deref().is_none_or(|after| &*e.key > after);
    Page::cut(all.filter(asked).cloned().collect(), query.limit, revision)
}

impl State {
    fn apply(&mut self, write: &Write, indexer: &dyn Indexer) -> Result<Arc<Event>, StoreError> {
        let current = self.present.get(&write.key).cloned();
        let met = match write.expect {
            Expect::Absent => current.is_none(),
            Expect::At(at) => current.as_ref().is_some_and(|e| e.revision == at),
        };
        if !met {
            return Err(StoreError::Conflict { key: write.key.to_string(), current: current.map(Box::new) });
        }
        let revision = self.revision.next();
        let event = match (&write.body, current) {
            (Some(body), previous) => {
                let row = Arc::new(indexer.row(&write.key, &body.bytes));
                let at = body.at.min(body.bytes.len());
                let entry = Entry { key: write.key.clone(), bytes: body.stamped(revision), revision, at, row };
                self.present.insert(write.key.clone(), entry.clone());
                let kind = if previous.is_some() { EventKind::Updated } else { EventKind::Created };
                Event::new(kind, entry, previous)
            }
            (None, Some(last)) => {
                self.present.remove(&write.key);
                let entry = Entry { bytes: last.restamped(revision), revision, ..last.clone() };
                Event::new(EventKind::Deleted, entry, Some(last))
            }
            // To delete what is absent, expecting it absent, is nobody's wish.
            (None, None) => return Err(StoreError::Conflict { key: write.key.to_string(), current: None }),
        };
        self.revision = revision;
        Ok(Arc::new(event))
    }

    fn publish(&mut self, event: &Arc<Event>, queue: usize) {
        self.events.push(event.clone());
        self.watchers.retain(|w| {
            if !covers(&w.prefix, &event.entry.key) {
                return !w.events.is_closed();
            }
            if w.progress.queued.fetch_add(1, Ordering::Relaxed) >= queue {
                w.progress.slow.store(true, Ordering::Relaxed);
                return false;
            }
            w.events.unbounded_send(Ok(event.clone())).is_ok()
        });
        let revision = self.revision;
        for (_, waiter) in self.waiters.extract_if(.., |(asked, _)| *asked <= revision) {
            let _ = waiter.send(());
        }
    }

    /// The state at `at`: the present one with later events undone, newest first.
    fn at(&self, at: Revision) -> BTreeMap<Arc<str>, Entry> {
        let mut then = self.present.clone();
        for event in self.events.iter().rev().take_while(|e| e.revision() > at) {
            match &event.previous {
                Some(previous) => then.insert(previous.key.clone(), previous.clone()),
                None => then.remove(&event.entry.key),
            };
        }
        then
    }
}

#[async_trait]
impl Store for Memory {
    fn revision(&self) -> Revision {
        self.state.lock().revision
    }
    fn oldest(&self) -> Revision {
        self.state.lock().compacted
    }
    fn get(&self, key: &str) -> Option<Entry> {
        self.state.lock().present.get(key).cloned()
    }
    fn list(&self, query: &ListQuery) -> Page {
        let state = self.state.lock();
        page(state.present.values(), query, state.revision)
    }
    async fn list_at(&self, query: &ListQuery, at: Revision) -> Result<Page, StoreError> {
        let state = self.state.lock();
        if at > state.revision {
            return Err(StoreError::Future { asked: at, current: state.revision });
        }
        if at < state.compacted {
            return Err(StoreError::Compacted { asked: at, oldest: state.compacted });
        }
        Ok(page(state.at(at).values(), query, at))
    }
    async fn commit(&self, write: Write) -> Result<Entry, StoreError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        let event = state.apply(&write, &*self.indexer)?;
        state.publish(&event, self.queue);
        Ok(event.entry.clone())
    }
    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        if after > state.revision {
            return Err(StoreError::Future { asked: after, current: state.revision });
        }
        if after < state.compacted {
            return Err(StoreError::Compacted { asked: after, oldest: state.compacted });
        }
        let past: Vec<_> = state.events.iter().filter(|e| e.revision() > after && covers(prefix, &e.entry.key)).cloned().collect();
        let (events, live) = mpsc::unbounded();
        let progress = Arc::new(Progress::default());
        state.watchers.push(Watcher { prefix: prefix.to_owned(), events, progress: progress.clone() });
        let prefix = prefix.to_owned();
        let live = stream::unfold(Some((live, progress)), move |from| {
            let prefix = prefix.clone();
            async move {
                let (mut live, progress) = from?;
                let next = live.next().await;
                if progress.slow.load(Ordering::Relaxed) {
                    return Some((Err(StoreError::Slow { prefix }), None));
                }
                progress.queued.fetch_sub(1, Ordering::Relaxed);
                match next? {
                    Ok(event) => Some((Ok(event), Some((live, progress)))),
                    Err(end) => Some((Err(end), None)),
                }
            }
        });
        Ok(stream::iter(past.into_iter().map(Ok)).chain(live).boxed())
    }
    async fn wait_for(&self, revision: Revision) {
        let reached = {
            let mut state = self.state.lock();
            if state.revision >= revision {
                return;
            }
            let (waiter, reached) = oneshot::channel();
            state.waiters.push((revision, waiter));
            reached
        };
        let _ = reached.await;
    }
    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if revision > state.revision {
            return Err(StoreError::Future { asked: revision, current: state.revision });
        }
        state.compacted = state.compacted.max(revision);
        let oldest = state.compacted;
        state.events.retain(|e| e.revision() > oldest);
        Ok(())
    }
    async fn answers(&self) -> Result<(), StoreError> {
        if self.state.lock().closed { Err(StoreError::Closed) } else { Ok(()) }
    }
    async fn close(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.closed = true;
        for watcher in state.watchers.drain(..) {
            let _ = watcher.events.unbounded_send(Err(StoreError::Closed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[tokio::test]
    async fn the_fake_passes_the_suite() {
        suite::all(|| async { Arc::new(Memory::with_queue(suite::indexer(), suite::QUEUE)) as Arc<dyn Store> }).await;
    }
}
