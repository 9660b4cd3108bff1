//! Pods that wait for a node.
//!
//! ```text
//!   add ──▶ active ──next──▶ (in a turn) ──bound──▶ gone
//!             ▲                  │
//!             └──back-off over───┴──fits nowhere──▶ parked ──a change that could help──▶ active, after its back-off
//! ```
//!
//! Who only waits for the back-off of a pod that fitted nowhere is taken before its time when nothing else is to be done, as upstream's
//! `SchedulerPopFromBackoffQ` has it (KEP-5142). Back-offs after errors are waited for.
use parking_lot::Mutex;
use skiff_sched::Wakes;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::{cmp::Reverse, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::Instant};

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Back-offs that end in one such window are taken by importance.
const WINDOW: Duration = Duration::from_secs(1);
/// Parked pods are tried again after so long whatever happens.
const PARKED_AT_MOST: Duration = Duration::from_secs(300);

struct State {
    waiting: HashMap<Arc<str>, Waiting>,
    active: BTreeSet<(Reverse<i32>, u64, Arc<str>)>,
    /// When back-offs end and what is parked is tried anyway.
    due: BTreeSet<(Instant, Arc<str>)>,
    /// Back-offs that need not be waited for, by the window they end in.
    early: BTreeSet<(u64, Reverse<i32>, Instant, Arc<str>)>,
    parked: HashSet<Arc<str>>,
    sequence: u64,
    started: Instant,
    /// Every kind of change seen during turns that still run; a turn that one of them could help does not park.
    seen: HashMap<Arc<str>, Wakes>,
}

struct Waiting {
    priority: i32,
    attempts: u32,
    place: Place,
}
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Active { sequence: u64 },
    Turn,
    Backoff { until: Instant, failed: bool },
    Parked { until: Instant, ready: Instant, wakes: Wakes },
}

/// The queue; clones share it.
#[derive(Clone)]
pub struct PodQueue {
    state: Arc<Mutex<State>>,
    wake: Arc<Notify>,
}

impl Default for PodQueue {
    fn default() -> Self {
        let state = State {
            waiting: HashMap::new(),
            active: BTreeSet::new(),
            due: BTreeSet::new(),
            early: BTreeSet::new(),
            parked: HashSet::new(),
            sequence: 0,
            started: Instant::now(),
            seen: HashMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), wake: Arc::default() }
    }
}

impl PodQueue {
    pub fn new() -> Self {
        Self::default()
    }
    /// A pod without a node appeared or changed.
    pub fn add(&self, key: &str, priority: i32) {
        let mut s = self.state.lock();
        let key: Arc<str> = key.into();
        match s.waiting.get_mut(&key) {
            Some(w) if matches!(w.place, Place::Parked { .. }) => {
                w.priority = priority;
                s.release(&key, Instant::now());
            }
            // The turn that runs may have read the pod before.
            Some(w) if w.place == Place::Turn => drop(s.seen.insert(key, Wakes::ALL)),
            Some(_) => {}
            None => {
                s.waiting.insert(key.clone(), Waiting { priority, attempts: 0, place: Place::Turn });
                s.activate(&key);
            }
        }
        self.wake.notify_one();
    }
    /// The pod is bound or gone.
    pub fn remove(&self, key: &str) {
        let mut s = self.state.lock();
        s.seen.remove(key);
        let Some((key, _)) = s.waiting.get_key_value(key) else { return };
        let key = key.clone();
        s.put(&key, Place::Turn);
        s.waiting.remove(&key);
    }
    /// Something changed that could let those parked pods fit which wait for changes of this kind.
    pub fn changed(&self, kind: Wakes) {
        let mut s = self.state.lock();
        let now = Instant::now();
        for seen in s.seen.values_mut() {
            *seen = seen.and(kind);
        }
        let helped = |key: &&Arc<str>| matches!(s.waiting.get(*key), Some(Waiting { place: Place::Parked { wakes, .. }, .. }) if wakes.meets(kind));
        let parked: Vec<Arc<str>> = s.parked.iter().filter(helped).cloned().collect();
        parked.iter().for_each(|k| s.release(k, now));
        if !parked.is_empty() {
            self.wake.notify_one();
        }
    }
    /// The pod of this turn fits nowhere until a change of one of these kinds.
    pub fn park(&self, key: &str, wakes: Wakes) {
        let mut s = self.state.lock();
        let (now, seen) = (Instant::now(), s.seen.remove(key).unwrap_or_default());
        let Some((key, attempts)) = s.failed(key) else { return };
        let ready = now + backoff(attempts);
        let helped = seen.meets(wakes) || seen == Wakes::ALL;
        s.put(&key, if helped { Place::Backoff { until: ready, failed: false } } else { Place::Parked { until: now + PARKED_AT_MOST, ready, wakes } });
        self.wake.notify_one();
    }
    /// The turn failed for another reason: try again after a back-off.
    pub fn retry(&self, key: &str) {
        let mut s = self.state.lock();
        s.seen.remove(key);
        if let Some((key, attempts)) = s.failed(key) {
            s.put(&key, Place::Backoff { until: Instant::now() + backoff(attempts), failed: true });
        }
        self.wake.notify_one();
    }
    /// The most important pod that may be tried now; waits for one. Cancel-safe.
    pub async fn next(&self) -> Option<Arc<str>> {
        loop {
            let (found, wake_at) = self.state.lock().take(Instant::now());
            if found.is_some() {
                return found;
            }
            match wake_at {
                Some(at) => drop(tokio::time::timeout_at(at, self.wake.notified()).await),
                None => self.wake.notified().await,
            }
        }
    }
    pub fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    /// Moves a pod from where it waits to another place, in every index.
    fn put(&mut self, key: &Arc<str>, place: Place) {
        let Some(w) = self.waiting.get_mut(key) else { return };
        let (old, importance) = (std::mem::replace(&mut w.place, place), Reverse(w.priority));
        match old {
            Place::Active { sequence } => drop(self.active.remove(&(importance, sequence, key.clone()))),
            Place::Turn => {}
            Place::Backoff { until, .. } => {
                self.due.remove(&(until, key.clone()));
                self.early.remove(&(self.window(until), importance, until, key.clone()));
            }
            Place::Parked { until, .. } => {
                self.due.remove(&(until, key.clone()));
                self.parked.remove(key);
            }
        }
        match place {
            Place::Active { sequence } => drop(self.active.insert((importance, sequence, key.clone()))),
            Place::Turn => {}
            Place::Backoff { until, failed } => {
                self.due.insert((until, key.clone()));
                if !failed {
                    self.early.insert((self.window(until), importance, until, key.clone()));
                }
            }
            Place::Parked { until, .. } => {
                self.due.insert((until, key.clone()));
                self.parked.insert(key.clone());
            }
        }
    }
    fn window(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_secs() / WINDOW.as_secs()
    }
    fn activate(&mut self, key: &Arc<str>) {
        self.sequence += 1;
        self.put(key, Place::Active { sequence: self.sequence });
    }
    /// A parked pod may be tried, when its back-off is over.
    fn release(&mut self, key: &Arc<str>, now: Instant) {
        match self.waiting.get(key).map(|w| w.place) {
            Some(Place::Parked { ready, .. }) if ready > now => self.put(key, Place::Backoff { until: ready, failed: false }),
            _ => self.activate(key),
        }
    }
    /// Counts a turn without success; the attempts up to now.
    fn failed(&mut self, key: &str) -> Option<(Arc<str>, u32)> {
        let key = self.waiting.get_key_value(key)?.0.clone();
        let w = self.waiting.get_mut(&key)?;
        w.attempts += 1;
        Some((key, w.attempts))
    }
    /// The next key, or when to look again.
    fn take(&mut self, now: Instant) -> (Option<Arc<str>>, Option<Instant>) {
        while let Some((until, key)) = self.due.first().cloned()
            && until <= now
        {
            self.activate(&key);
        }
        let next = self.active.first().map(|(_, _, key)| key).or_else(|| self.early.first().map(|(_, _, _, key)| key));
        let Some(key) = next.cloned() else {
            return (None, self.due.first().map(|(until, _)| *until));
        };
        self.put(&key, Place::Turn);
        self.seen.insert(key.clone(), Wakes::default());
        (Some(key), None)
    }
}

fn backoff(attempts: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_important_go_first_and_parked_ones_come_back_on_a_change() {
        let q = PodQueue::new();
        q.add("a", 0);
        q.add("b", 10);
        assert_eq!(&*q.next().await.unwrap(), "b");
        q.park("b", Wakes::NODE);
        assert_eq!(&*q.next().await.unwrap(), "a");
        q.remove("a");
        let start = Instant::now();
        q.changed(Wakes::POD_GONE);
        q.changed(Wakes::NODE);
        assert_eq!(&*q.next().await.unwrap(), "b");
        assert_eq!(start.elapsed().as_secs(), 0, "nothing else is to be done");
    }

    #[tokio::test(start_paused = true)]
    async fn back_offs_after_errors_are_waited_for_and_others_when_there_is_work() {
        let q = PodQueue::new();
        for (key, priority) in [("failed", 0), ("early", 1), ("important", 2)] {
            q.add(key, priority);
        }
        for key in ["important", "early"] {
            assert_eq!(&*q.next().await.unwrap(), key);
            q.park(key, Wakes::NODE);
        }
        q.changed(Wakes::NODE);
        let start = Instant::now();
        assert_eq!(&*q.next().await.unwrap(), "failed", "the active ones come first");
        q.retry("failed");
        assert_eq!(&*q.next().await.unwrap(), "important");
        q.remove("early");
        assert_eq!(&*q.next().await.unwrap(), "failed");
        assert_eq!(start.elapsed().as_secs(), 1);
        q.remove("important");
        q.remove("failed");
        assert!(q.is_empty());
        let s = q.state.lock();
        assert!(s.active.is_empty() && s.due.is_empty() && s.early.is_empty() && s.parked.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_during_a_turn_is_not_missed() {
        let q = PodQueue::new();
        q.add("a", 0);
        q.next().await;
        q.changed(Wakes::POD_GONE);
        q.park("a", Wakes::POD_GONE.and(Wakes::NODE));
        let start = Instant::now();
        assert_eq!(&*q.next().await.unwrap(), "a");
        assert_eq!(start.elapsed().as_secs(), 0);
        q.park("a", Wakes::NODE);
        q.next().await;
        assert_eq!(start.elapsed().as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_cannot_help_wakes_nobody() {
        let q = PodQueue::new();
        q.add("a", 0);
        q.next().await;
        q.changed(Wakes::STORAGE);
        q.park("a", Wakes::NODE);
        let start = Instant::now();
        q.changed(Wakes::POD_PLACED);
        q.next().await;
        assert_eq!(start.elapsed().as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_changes_in_its_turn_is_tried_again() {
        let q = PodQueue::new();
        q.add("a", 0);
        q.next().await;
        q.add("a", 0);
        q.park("a", Wakes::NODE);
        let start = Instant::now();
        q.next().await;
        assert_eq!(start.elapsed().as_secs(), 0);
    }
}
