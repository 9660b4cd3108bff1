//! Pods that wait for a node.
//!
//! ```text
//!   add ──▶ active ──next──▶ (in a turn) ──bound──▶ gone
//!             ▲                  │
//!             └──back-off over───┴──fits nowhere──▶ parked ──a change that could help──▶ active, after its back-off
//! ```
use parking_lot::Mutex;
use skiff_sched::Wakes;
use std::{cmp::Reverse, collections::{BTreeSet, HashMap}, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::Instant};

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Parked pods are tried again after so long whatever happens.
const PARKED_AT_MOST: Duration = Duration::from_secs(300);

#[derive(Default)]
struct State {
    active: BTreeSet<(Reverse<i32>, u64, Arc<str>)>,
    waiting: HashMap<Arc<str>, Waiting>,
    sequence: u64,
    /// Every kind of change seen during turns that still run; a turn that one of them could help does not park.
    seen: HashMap<Arc<str>, Wakes>,
}

struct Waiting {
    priority: i32,
    attempts: u32,
    place: Place,
}
#[derive(PartialEq)]
enum Place {
    Active,
    Turn,
    Backoff { until: Instant },
    Parked { until: Instant, ready: Instant, wakes: Wakes },
}

/// The queue; clones share it.
#[derive(Clone, Default)]
pub struct PodQueue {
    state: Arc<Mutex<State>>,
    wake: Arc<Notify>,
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
                s.waiting.insert(key.clone(), Waiting { priority, attempts: 0, place: Place::Active });
                s.activate(&key);
            }
        }
        self.wake.notify_one();
    }
    /// The pod is bound or gone.
    pub fn remove(&self, key: &str) {
        let mut s = self.state.lock();
        s.waiting.remove(key);
        s.seen.remove(key);
        s.active.retain(|(_, _, k)| &**k != key);
    }
    /// Something changed that could let those parked pods fit which wait for changes of this kind.
    pub fn changed(&self, kind: Wakes) {
        let mut s = self.state.lock();
        let now = Instant::now();
        for seen in s.seen.values_mut() {
            *seen = seen.and(kind);
        }
        let helped = |w: &Waiting| matches!(w.place, Place::Parked { wakes, .. } if wakes.meets(kind));
        let parked: Vec<Arc<str>> = s.waiting.iter().filter(|(_, w)| helped(w)).map(|(k, _)| k.clone()).collect();
        parked.iter().for_each(|k| s.release(k, now));
        if !parked.is_empty() {
            self.wake.notify_one();
        }
    }
    /// The pod of this turn fits nowhere until a change of one of these kinds.
    pub fn park(&self, key: &str, wakes: Wakes) {
        let mut s = self.state.lock();
        let (now, seen) = (Instant::now(), s.seen.remove(key).unwrap_or_default());
        let Some(w) = s.waiting.get_mut(key) else { return };
        w.attempts += 1;
        let ready = now + backoff(w.attempts);
        w.place = if seen.meets(wakes) || seen == Wakes::ALL { Place::Backoff { until: ready } } else { Place::Parked { until: now + PARKED_AT_MOST, ready, wakes } };
        self.wake.notify_one();
    }
    /// The turn failed for another reason: try again after a back-off.
    pub fn retry(&self, key: &str) {
        let mut s = self.state.lock();
        s.seen.remove(key);
        if let Some(w) = s.waiting.get_mut(key) {
            w.attempts += 1;
            w.place = Place::Backoff { until: Instant::now() + backoff(w.attempts) };
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
    fn activate(&mut self, key: &Arc<str>) {
        let Some(w) = self.waiting.get_mut(key) else { return };
        w.place = Place::Active;
        self.sequence += 1;
        self.active.insert((Reverse(w.priority), self.sequence, key.clone()));
    }
    fn release(&mut self, key: &Arc<str>, now: Instant) {
        let Some(w) = self.waiting.get_mut(key) else { return };
        match w.place {
            Place::Parked { ready, .. } if ready > now => w.place = Place::Backoff { until: ready },
            _ => self.activate(key),
        }
    }
    /// The next key, or when to look again.
    fn take(&mut self, now: Instant) -> (Option<Arc<str>>, Option<Instant>) {
        let due = |w: &Waiting| match w.place {
            Place::Backoff { until } | Place::Parked { until, .. } => Some(until),
            _ => None,
        };
        let over: Vec<Arc<str>> = self.waiting.iter().filter(|(_, w)| due(w).is_some_and(|u| u <= now)).map(|(k, _)| k.clone()).collect();
        over.iter().for_each(|k| self.activate(k));
        while let Some((_, _, key)) = self.active.pop_first() {
            if let Some(w) = self.waiting.get_mut(&key) {
                w.place = Place::Turn;
                self.seen.insert(key.clone(), Wakes::default());
                return (Some(key), None);
            }
        }
        (None, self.waiting.values().filter_map(due).min())
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
        q.changed(Wakes::NODE);
        assert_eq!(&*q.next().await.unwrap(), "b");
        assert_eq!(start.elapsed().as_secs(), 1);
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
        assert_eq!(start.elapsed().as_secs(), 1);
        q.park("a", Wakes::NODE);
        q.next().await;
        assert_eq!(start.elapsed().as_secs(), 301);
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
        assert_eq!(start.elapsed().as_secs(), 1);
    }
}
