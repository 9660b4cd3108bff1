//! Which keys are in the volatile tier, and which of them the disk does not know yet.
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Volatile {
    live: HashSet<Arc<str>>,
    dirty: HashSet<Arc<str>>,
    /// Since when `dirty` is not empty.
    since: Option<Instant>,
    /// The resources (`leases.coordination.k8s.io/`) that ever had a volatile key: their history is not on the disk.
    resources: BTreeSet<Box<str>>,
}

impl Volatile {
    pub fn new(keys: Vec<Arc<str>>) -> Self {
        let mut volatile = Self::default();
        for key in keys {
            volatile.note_resource(&key);
            volatile.live.insert(key);
        }
        volatile
    }
    fn note_resource(&mut self, key: &str) {
        let resource = &key[..key.find('/').map_or(key.len(), |i| i + 1)];
        if !self.resources.contains(resource) {
            self.resources.insert(resource.into());
        }
    }
    pub fn has(&self, key: &str) -> bool {
        self.live.contains(key)
    }
    /// A volatile commit to `key`.
    pub fn changed(&mut self, key: &Arc<str>, deleted: bool, now: Instant) {
        self.note_resource(key);
        if deleted {
            self.live.remove(key);
        } else {
            self.live.insert(key.clone());
        }
        self.dirty.insert(key.clone());
        self.since.get_or_insert(now);
    }
    pub fn is_dirty(&self, key: &str) -> bool {
        self.dirty.contains(key)
    }
    pub fn dirty(&self) -> impl Iterator<Item = &Arc<str>> {
        self.dirty.iter()
    }
    /// The disk knows these keys' state.
    pub fn flushed<'a>(&mut self, keys: impl Iterator<Item = &'a Arc<str>>) {
        for key in keys {
            self.dirty.remove(key);
        }
        if self.dirty.is_empty() {
            self.since = None;
        }
    }
    /// How long until a checkpoint must be made; None when there is nothing to write.
    pub fn due_in(&self, every: Duration, now: Instant) -> Option<Duration> {
        self.since.map(|since| (since + every).saturating_duration_since(now))
    }
    /// After a checkpoint that failed: not again at once.
    pub fn postpone(&mut self, now: Instant) {
        self.since = self.since.map(|_| now);
    }
    /// Whether a list under `prefix` may see volatile keys.
    pub fn under(&self, prefix: &str) -> bool {
        self.resources.iter().any(|r| prefix.starts_with(&**r) || r.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn knows_what_the_disk_does_not() {
        let (start, hour) = (Instant::now(), Duration::from_secs(3600));
        let mut v = Volatile::new(vec!["leases/a/x".into()]);
        assert!(v.has("leases/a/x") && !v.is_dirty("leases/a/x") && v.due_in(hour, start).is_none());
        let key: Arc<str> = "leases/a/y".into();
        v.changed(&key, false, start);
        v.changed(&key, true, start + hour / 2);
        assert!(!v.has(&key) && v.is_dirty(&key));
        assert_eq!(v.due_in(hour, start + hour / 2), Some(hour / 2));
        assert!(v.under("") && v.under("leases/") && v.under("leases/a/") && !v.under("pods/") && !v.under("leases.x/"));
        v.flushed([key].iter());
        assert!(v.due_in(hour, start).is_none());
    }
}
