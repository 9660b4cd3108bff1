//! The work queue: each key once, never twice at a time, later if asked.
use crate::counts::Counts;
use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

const FIRST: Duration = Duration::from_millis(5);
const MOST: Duration = Duration::from_secs(1000);

/// A cheap handle on one queue of keys.
///
/// A key that is added while it is worked on comes again when [`Queue::done`] is called for it.
#[derive(Clone, Default)]
pub struct Queue {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    wake: Notify,
    counts: Counts,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Arc<str>>,
    /// Waiting in `ready`, or to come again once done; with when it was added.
    dirty: HashMap<Arc<str>, Instant>,
    /// With when it was taken.
    processing: HashMap<Arc<str>, Instant>,
    later: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    /// The earliest time a key waits for; others of it in `later` are stale.
    due: HashMap<Arc<str>, Instant>,
    failures: HashMap<Arc<str>, u32>,
    closed: bool,
    /// How many were added ever.
    added: u64,
}

impl State {
    fn add(&mut self, key: Arc<str>) -> bool {
        if self.closed || self.dirty.contains_key(&key) {
            return false;
        }
        self.dirty.insert(key.clone(), Instant::now());
        self.added += 1;
        if self.processing.contains_key(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }
    fn add_at(&mut self, key: Arc<str>, at: Instant) {
        if self.closed || self.due.get(&key).is_some_and(|d| *d <= at) {
            return;
        }
        self.due.insert(key.clone(), at);
        self.later.push(Reverse((at, key)));
    }
    /// Moves what is due; returns when the next one is.
    fn ripen(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((at, _))) = self.later.peek() {
            if *at > now {
                return Some(*at);
            }
            let Some(Reverse((at, key))) = self.later.pop() else { break };
            if self.due.get(&key) == Some(&at) {
                self.due.remove(&key);
                self.add(key);
            }
        }
        None
    }
    /// The next key, and how long it waited.
    fn take(&mut self) -> Option<(Arc<str>, Duration)> {
        let key = self.ready.pop_front()?;
        let (added, now) = (self.dirty.remove(&key), Instant::now());
        self.processing.insert(key.clone(), now);
        Some((key, added.map_or(Duration::ZERO, |a| now - a)))
    }
    /// Whether it is to be worked on again, and how long it took.
    fn done(&mut self, key: &str) -> Option<(bool, Duration)> {
        let (key, taken) = self.processing.remove_entry(key)?;
        let again = self.dirty.contains_key(&key);
        if again {
            self.ready.push_back(key);
        }
        Some((again, taken.elapsed()))
    }
    /// 5 ms, doubling with every failure, at most 1000 s.
    fn penalty(&mut self, key: &Arc<str>) -> Duration {
        let n = self.failures.entry(key.clone()).or_insert(0);
        let wait = FIRST.saturating_mul(1_u32.checked_shl(*n).unwrap_or(u32::MAX)).min(MOST);
        *n = (*n + 1).min(31);
        wait
    }
}

impl Queue {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn add(&self, key: impl Into<Arc<str>>) {
        if self.inner.state.lock().add(key.into()) {
            self.inner.wake.notify_one();
        }
    }
    /// At once when `delay` is zero. An earlier time that is waited for already stays.
    pub fn add_after(&self, key: impl Into<Arc<str>>, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.inner.state.lock().add_at(key.into(), Instant::now() + delay);
        self.inner.wake.notify_one();
    }
    /// After a failure: later with every one since the last [`Queue::forget`].
    pub fn add_limited(&self, key: impl Into<Arc<str>>) {
        let key = key.into();
        self.inner.counts.retries.fetch_add(1, Ordering::Relaxed);
        let delay = self.inner.state.lock().penalty(&key);
        self.add_after(key, delay);
    }
    pub fn forget(&self, key: &str) {
        self.inner.state.lock().failures.remove(key);
    }
    /// Failures since the last [`Queue::forget`].
    pub fn failures(&self, key: &str) -> u32 {
        self.inner.state.lock().failures.get(key).copied().unwrap_or(0)
    }
    /// The next key; None once the queue is closed and empty. Follow it by [`Queue::done`].
    pub async fn get(&self) -> Option<Arc<str>> {
        loop {
            let next = {
                let mut s = self.inner.state.lock();
                let next = s.ripen(Instant::now());
                if let Some((key, waited)) = s.take() {
                    self.inner.counts.waited.observe(waited.as_secs_f64());
                    if !s.ready.is_empty() || next.is_some() {
                        // Others may sleep towards a later time, or have work to take.
                        self.inner.wake.notify_one();
                    }
                    return Some(key);
                }
                if s.closed {
                    self.inner.wake.notify_one();
                    return None;
                }
                next
            };
            match next {
                Some(at) => drop(tokio::time::timeout_at(at, self.inner.wake.notified()).await),
                None => self.inner.wake.notified().await,
            }
        }
    }
    pub fn done(&self, key: &str) {
        let done = self.inner.state.lock().done(key);
        if let Some((again, took)) = done {
            self.inner.counts.worked.observe(took.as_secs_f64());
            if again {
                self.inner.wake.notify_one();
            }
        }
    }
    /// Takes no more keys; those that are ready are still handed out.
    pub fn close(&self) {
        let mut s = self.inner.state.lock();
        s.closed = true;
        s.later.clear();
        self.inner.wake.notify_one();
    }
    pub fn len(&self) -> usize {
        self.inner.state.lock().ready.len()
    }
    /// How many keys were added ever.
    pub(crate) fn added(&self) -> u64 {
        self.inner.state.lock().added
    }
    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }
    pub(crate) fn is(&self, other: &Queue) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
    /// Seconds that have gone into the keys that are worked on: all together, and the longest.
    pub(crate) fn unfinished(&self) -> (f64, f64) {
        let s = self.inner.state.lock();
        s.processing.values().map(|since| since.elapsed().as_secs_f64()).fold((0.0, 0.0), |(sum, most), t| (sum + t, f64::max(most, t)))
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[tokio::test(start_paused = true)]
    async fn keys_come_once_and_again_when_added_meanwhile() {
        let q = Queue::new();
        q.add("a");
        q.add("a");
        q.add("b");
        assert_eq!(q.get().await.as_deref(), Some("a"));
        q.add("a");
        assert_eq!(q.get().await.as_deref(), Some("b"));
        assert!(q.is_empty());
        q.done("a");
        assert_eq!(q.get().await.as_deref(), Some("a"));
        q.close();
        q.add("c");
        assert_eq!(q.get().await, None);
        assert_eq!(q.get().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn delays_and_penalties() {
        let q = Queue::new();
        let start = Instant::now();
        q.add_after("slow", Duration::from_secs(60));
        q.add_after("slow", Duration::from_secs(10));
        q.add_after("slow", Duration::from_secs(20));
        for expected in [5, 10, 20] {
            let before = Instant::now();
            q.add_limited("x");
            assert_eq!(q.get().await.as_deref(), Some("x"));
            assert_eq!(before.elapsed().as_millis(), expected);
            q.done("x");
        }
        assert_eq!(q.failures("x"), 3);
        q.forget("x");
        assert_eq!(q.failures("x"), 0);
        assert_eq!(q.get().await.as_deref(), Some("slow"));
        assert_eq!(start.elapsed().as_secs(), 10);
        q.done("slow");
        assert!(q.inner.state.lock().ripen(start + Duration::from_secs(100)).is_none());
        assert!(q.is_empty(), "only the earliest time counts");
    }

    proptest! {
        /// Never handed out twice at a time; never lost: once all is done, every key that was added came after its last add.
        #[test]
        fn no_key_is_lost_or_doubled(ops in proptest::collection::vec((0..3u8, 0..4u8), 1..80)) {
            let mut s = State::default();
            let mut owed: HashSet<Arc<str>> = HashSet::new();
            let mut out: HashSet<Arc<str>> = HashSet::new();
            for (op, k) in ops {
                let key: Arc<str> = k.to_string().into();
                match op {
                    0 => { s.add(key.clone()); owed.insert(key); }
                    1 => if let Some((k, _)) = s.take() { prop_assert!(out.insert(k.clone())); owed.remove(&k); },
                    _ => { s.done(&key); out.remove(&key); }
                }
            }
            for k in out { s.done(&k); }
            while let Some((k, _)) = s.take() { owed.remove(&k); }
            prop_assert!(owed.is_empty());
        }
    }
}
