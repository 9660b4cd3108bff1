//! Conversions that a webhook made, kept: many watch one event, and lists come again.
//!
//! What was stored at a revision never changes, so its conversion is kept by that revision. One who asks waits for
//! another's question instead of putting it again.
use parking_lot::Mutex;
use skiff_meta::Revision;
use skiff_store::Body;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::OnceCell;

/// Bytes kept of one resource.
const LIMIT: usize = 8 << 20;

/// Which object, by the revision that wrote it, in which version.
type Key = (Revision, String);

#[derive(Default)]
pub struct Converted(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    cells: HashMap<Key, Arc<OnceCell<Body>>>,
    /// What is filled, the oldest first, with its size.
    order: VecDeque<(Key, usize)>,
    bytes: usize,
}

impl Converted {
    /// The conversion, made by `make` unless it is there or on its way.
    pub(crate) async fn of<E, F>(&self, written: Revision, version: &str, make: impl FnOnce() -> F + Send) -> Result<Body, E>
    where
        F: Future<Output = Result<Body, E>> + Send,
    {
        let key = (written, version.to_owned());
        let cell = self.0.lock().cells.entry(key.clone()).or_default().clone();
        let done = cell
            .get_or_try_init(|| async {
                let body = make().await?;
                self.0.lock().fill(key.clone(), body.bytes.len());
                Ok(body)
            })
            .await
            .cloned();
        if done.is_err() {
            // Unless somebody else tries at the moment, nobody remembers that it failed.
            let mut kept = self.0.lock();
            if kept.cells.get(&key).is_some_and(|c| !c.initialized() && Arc::strong_count(c) <= 2) {
                kept.cells.remove(&key);
            }
        }
        done
    }
    pub(crate) fn get(&self, written: Revision, version: &str) -> Option<Body> {
        self.0.lock().cells.get(&(written, version.to_owned()))?.get().cloned()
    }
    pub(crate) fn put(&self, written: Revision, version: &str, body: Body) {
        let key = (written, version.to_owned());
        let mut kept = self.0.lock();
        let size = body.bytes.len();
        if kept.cells.entry(key.clone()).or_default().set(body).is_ok() {
            kept.fill(key, size);
        }
    }
}

impl Kept {
    /// Counts what was filled, and lets go of the oldest when there is too much.
    fn fill(&mut self, key: Key, size: usize) {
        self.bytes += size;
        self.order.push_back((key, size));
        while self.bytes > LIMIT {
            let Some((oldest, size)) = self.order.pop_front() else { break };
            self.cells.remove(&oldest);
            self.bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn body(size: usize) -> Body {
        Body { bytes: vec![b'x'; size].into(), at: 0 }
    }

    #[tokio::test]
    async fn a_conversion_is_asked_for_once() {
        let (all, asked) = (Converted::default(), AtomicUsize::new(0));
        let make = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok::<_, ()>(body(3))
        };
        let one = || all.of(Revision(1), "v2", make);
        let (a, b) = tokio::join!(one(), one());
        assert_eq!((a.unwrap().bytes.len(), b.unwrap().bytes.len(), asked.load(Ordering::Relaxed)), (3, 3, 1));
        assert!(all.get(Revision(1), "v2").is_some() && all.get(Revision(1), "v3").is_none());
    }

    #[tokio::test]
    async fn failures_are_forgotten_and_the_oldest_goes() {
        let all = Converted::default();
        assert!(all.of(Revision(1), "v2", || async { Err::<Body, ()>(()) }).await.is_err());
        assert!(all.0.lock().cells.is_empty());
        all.put(Revision(2), "v2", body(LIMIT / 2 + 1));
        all.put(Revision(3), "v2", body(LIMIT / 2 + 1));
        assert!(all.get(Revision(2), "v2").is_none() && all.get(Revision(3), "v2").is_some());
    }
}
