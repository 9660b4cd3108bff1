//! Waiting times that double: restarts of crashing containers (10 s to 5 min) and image pulls.
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

/// Delays by key. A key that was left alone for twice the longest delay starts anew.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: SignedDuration,
    max: SignedDuration,
    entries: BTreeMap<String, Entry>,
}

impl Backoff {
    pub fn new(first: SignedDuration, max: SignedDuration) -> Self {
        Self { first, max, entries: BTreeMap::new() }
    }
    /// The present delay of `key`; zero when there is none.
    pub fn delay(&self, key: &str) -> SignedDuration {
        self.entries.get(key).map_or(SignedDuration::ZERO, |e| e.delay)
    }
    /// When `key` may go on, if that is still ahead: its delay after `event` (the end of the last try).
    pub fn until(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let e = self.entries.get(key)?;
        if self.expired(e, event) {
            return None;
        }
        let until = event.checked_add(e.delay).ok()?;
        (now < until).then_some(until)
    }
    /// The same, measured from the last [`Backoff::next`].
    pub fn until_since_update(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        let e = self.entries.get(key)?;
        let until = e.updated.checked_add(e.delay).ok()?;
        (now < until).then_some(until)
    }
    /// A new try begins after one that ended at `event`: its delay doubles.
    pub fn next(&mut self, key: &str, event: Timestamp, now: Timestamp) {
        let (first, max) = (self.first, self.max);
        let delay = match self.entries.get(key) {
            Some(e) if !self.expired(e, event) => (e.delay * 2).min(max),
            _ => first.min(max),
        };
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }
    pub fn reset(&mut self, key: &str) {
        self.entries.remove(key);
    }
    /// Forgets keys that would start anew anyway.
    pub fn collect_garbage(&mut self, now: Timestamp) {
        let max = self.max;
        self.entries.retain(|_, e| now.duration_since(e.updated) <= max * 2);
    }
    fn expired(&self, e: &Entry, event: Timestamp) -> bool {
        event.duration_since(e.updated) > self.max * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn t(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }
    #[test]
    fn delays_double_to_the_maximum_and_start_anew_after_ten_quiet_minutes() {
        let mut b = Backoff::new(SignedDuration::from_secs(10), SignedDuration::from_secs(300));
        assert_eq!(b.until("k", t(100), t(100)), None, "the first crash restarts at once");
        let mut seen = vec![];
        for _ in 0..7 {
            b.next("k", t(100), t(100));
            seen.push(b.delay("k").as_secs());
        }
        assert_eq!(seen, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(b.until("k", t(200), t(201)), Some(t(500)));
        assert_eq!(b.until("k", t(200), t(500)), None);
        assert_eq!(b.until("k", t(701), t(701)), None, "it ran for more than ten minutes");
        b.next("k", t(701), t(701));
        assert_eq!(b.delay("k").as_secs(), 10);
    }
}
