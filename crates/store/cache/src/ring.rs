//! The last events in commit order, bounded by count and by the bytes that they keep alive.
use skiff_meta::Revision;
use skiff_store::Event;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

pub(crate) struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Bytes of the frames that were made of them.
    frames: Arc<AtomicIsize>,
    max_events: usize,
    max_bytes: usize,
    /// Every event behind this revision is here.
    floor: Revision,
}

/// What an event keeps alive at the most: both versions (often shared with others) and its bookkeeping.
fn weight(event: &Event) -> usize {
    256 + event.entry.bytes.len() + event.previous.as_ref().map_or(0, |p| p.bytes.len())
}

impl Ring {
    pub fn new(max_events: usize, max_bytes: usize, floor: Revision) -> Self {
        Self { events: VecDeque::new(), bytes: 0, frames: Arc::default(), max_events, max_bytes, floor }
    }
    pub fn floor(&self) -> Revision {
        self.floor
    }
    pub fn push(&mut self, event: Arc<Event>) {
        self.bytes += weight(&event);
        event.keep_for(&self.frames);
        self.events.push_back(event);
        while self.events.len() > self.max_events || self.weight() > self.max_bytes {
            self.drop_first();
        }
    }
    fn weight(&self) -> usize {
        self.bytes + usize::try_from(self.frames.load(Ordering::Relaxed)).unwrap_or(0)
    }
    fn drop_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= weight(&event);
            event.let_go();
            self.floor = event.revision();
        }
    }
    /// Drops events at and before `revision`.
    pub fn forget(&mut self, revision: Revision) {
        while self.events.front().is_some_and(|e| e.revision() <= revision) {
            self.drop_first();
        }
        self.floor = self.floor.max(revision);
        if self.events.capacity() > 1024 && self.events.len() < self.events.capacity() / 8 {
            self.events.shrink_to(self.events.len() * 2);
        }
    }
    /// The events behind `after`, oldest first; nothing is missing when `after` is at or behind the floor.
    pub fn behind(&self, after: Revision) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.events.range(self.events.partition_point(|e| e.revision() <= after)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use skiff_store::{Entry, EventKind};

    fn event(revision: u64, size: usize) -> Arc<Event> {
        let entry = Entry { key: "pods/a/x".into(), bytes: Bytes::from(vec![0; size]), revision: Revision(revision), at: 0, row: Arc::default() };
        Arc::new(Event::new(EventKind::Created, entry, None))
    }
    fn revisions(ring: &Ring, after: u64) -> Vec<u64> {
        ring.behind(Revision(after)).map(|e| e.revision().0).collect()
    }

    #[test]
    fn frames_weigh_too() {
        let mut ring = Ring::new(100, 10_000, Revision(0));
        let first = event(1, 100);
        ring.push(first.clone());
        ring.push(event(2, 100));
        for e in ring.behind(Revision(0)) {
            e.frame(0, || Bytes::from(vec![0; 4000]));
            e.frame(0, || panic!("it is made once"));
        }
        assert_eq!(ring.weight(), 2 * 4356);
        ring.push(event(3, 2000));
        assert_eq!((revisions(&ring, 0), ring.weight()), (vec![2, 3], 4356 + 2256));
        first.frame(1, || Bytes::from(vec![0; 4000]));
        assert_eq!(ring.weight(), 4356 + 2256, "what is made of an event that is gone weighs nothing");
    }
    #[test]
    fn is_bounded_by_count_and_bytes() {
        let mut ring = Ring::new(4, 10_000, Revision(10));
        for r in [11, 12, 15, 16, 17] {
            ring.push(event(r, 100));
        }
        assert_eq!((ring.floor(), revisions(&ring, 11)), (Revision(11), vec![12, 15, 16, 17]));
        assert_eq!(revisions(&ring, 15), [16, 17]);
        ring.push(event(18, 9_400));
        assert_eq!((ring.floor(), revisions(&ring, 0)), (Revision(17), vec![18]));
        ring.push(event(19, 20_000));
        assert_eq!((ring.floor(), revisions(&ring, 0)), (Revision(19), vec![]), "an event too big for the ring passes through");
        ring.forget(Revision(30));
        assert_eq!((ring.floor(), ring.bytes), (Revision(30), 0));
    }
}
