//! Who watches what.
//!
//! Watchers are found by the prefixes of a changed key (all, resource, resource and namespace, the key itself): four
//! look-ups whatever the number of watchers. Each watcher has its own queue of shared events. One that does not read
//! is dropped when its queue is full, and never waited for.
use futures::Stream;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use skiff_meta::Revision;
use skiff_store::{Event, StoreError};
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type Next = Result<Arc<Event>, StoreError>;

/// Watchers by the prefix that they named.
#[derive(Default)]
pub(crate) struct Hub {
    watchers: HashMap<Box<str>, Vec<Arc<Watcher>>>,
    closed: bool,
}

pub(crate) struct Watcher {
    prefix: Box<str>,
    /// Events up to here were seen before the watch began.
    after: Revision,
    limit: usize,
    queue: Mutex<Queue>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    /// What the stream ends with, once the events are read.
    end: Option<StoreError>,
    over: bool,
}

/// The prefixes under which a key is watched.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    let resource = key.find('/').map(|i| i + 1);
    let namespace = resource.and_then(|r| key[r..].find('/').map(|i| r + i + 1));
    [Some(0), resource, namespace, Some(key.len())].into_iter().flatten().map(|end| &key[..end])
}

/// Whether a watch on `prefix` sees `key`.
pub(crate) fn covers(prefix: &str, key: &str) -> bool {
    if prefix.is_empty() || prefix.ends_with('/') { key.starts_with(prefix) } else { key == prefix }
}

impl Watcher {
    /// False when the watcher fell behind: it keeps nothing more.
    fn push(&self, event: &Arc<Event>) -> bool {
        let mut queue = self.queue.lock();
        if event.revision() <= self.after {
            return true;
        }
        if queue.events.len() >= self.limit {
            *queue = Queue { end: Some(StoreError::Slow { prefix: self.prefix.to_string() }), ..Queue::default() };
            return false;
        }
        queue.events.push_back(event.clone());
        true
    }
}

impl Hub {
    pub fn is_closed(&self) -> bool {
        self.closed
    }
    /// `past` is what the watcher gets first; `limit` counts what comes on top of it.
    pub fn register(&mut self, prefix: &str, after: Revision, past: VecDeque<Arc<Event>>, limit: usize) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher {
            prefix: prefix.into(),
            after,
            limit: limit + past.len(),
            queue: Mutex::new(Queue { events: past, ..Queue::default() }),
            waker: AtomicWaker::new(),
        });
        self.watchers.entry(prefix.into()).or_default().push(watcher.clone());
        watcher
    }
    pub fn unregister(&mut self, watcher: &Arc<Watcher>) {
        if let Some(list) = self.watchers.get_mut(&watcher.prefix) {
            list.retain(|w| !Arc::ptr_eq(w, watcher));
            if list.is_empty() {
                self.watchers.remove(&watcher.prefix);
            }
        }
    }
    /// Queues the event where it is watched, and notes in `touched` who must be woken.
    pub fn publish(&mut self, event: &Arc<Event>, touched: &mut Vec<Arc<Watcher>>) {
        for prefix in prefixes(&event.entry.key) {
            if let Some(list) = self.watchers.get_mut(prefix) {
                list.retain(|watcher| {
                    touched.push(watcher.clone());
                    watcher.push(event)
                });
            }
        }
    }
    /// Ends every watch, after what is queued.
    pub fn close(&mut self, touched: &mut Vec<Arc<Watcher>>) {
        self.closed = true;
        for watcher in self.watchers.drain().flat_map(|(_, list)| list) {
            watcher.queue.lock().end = Some(StoreError::Closed);
            touched.push(watcher);
        }
    }
}

/// Wakes each watcher once, outside of any lock.
pub(crate) fn wake(mut touched: Vec<Arc<Watcher>>) {
    if touched.len() > 1 {
        touched.sort_unstable_by_key(|w| Arc::as_ptr(w) as usize);
        touched.dedup_by(|a, b| Arc::ptr_eq(a, b));
    }
    for watcher in touched {
        watcher.waker.wake();
    }
}

/// Takes a watcher out of the hub again.
pub(crate) type Leave = Box<dyn Fn(&Arc<Watcher>) + Send>;

/// A watcher's end of the queue; dropping it ends the watch.
pub(crate) struct Reader {
    pub watcher: Arc<Watcher>,
    pub leave: Leave,
}

impl Reader {
    fn next(&self) -> Poll<Option<Next>> {
        let mut queue = self.watcher.queue.lock();
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(Ok(event)));
        }
        match queue.end.take() {
            Some(end) => {
                *queue = Queue { over: true, ..Queue::default() };
                Poll::Ready(Some(Err(end)))
            }
            None if queue.over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Stream for Reader {
    type Item = Next;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        if let Poll::Ready(next) = self.next() {
            return Poll::Ready(next);
        }
        self.watcher.waker.register(cx.waker());
        self.next()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        (self.leave)(&self.watcher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_key_is_watched_under_its_prefixes() {
        for (key, expected) in
            [("pods/a/x", &["", "pods/", "pods/a/", "pods/a/x"][..]), ("nodes//n", &["", "nodes/", "nodes//", "nodes//n"]), ("odd", &["", "odd"])]
        {
            assert_eq!(prefixes(key).collect::<Vec<_>>(), expected);
            assert!(expected.iter().all(|p| covers(p, key)));
        }
        assert!(!covers("pods/a/x", "pods/a/xy") && !covers("pods/a/", "pods/ab/x"));
    }
}
