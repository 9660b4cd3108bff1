//! Which rows were superseded, when, by memory alone.
//!
//! A row is garbage once a later row of its key is at or before the compacted revision; a deletion's row at once when
//! its own revision is compacted. Kept in the order of superseding, which is the order of compaction.
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(crate) struct Superseded {
    pub key: Arc<str>,
    /// The row that is not needed any more …
    pub row: u64,
    /// … for lists at this revision and behind it.
    pub at: u64,
    /// The row only says that the key was deleted.
    pub tombstone: bool,
}

#[derive(Default)]
pub(crate) struct Garbage(VecDeque<Superseded>);

impl Garbage {
    pub fn superseded(&mut self, key: Arc<str>, row: u64, at: u64) {
        self.0.push_back(Superseded { key, row, at, tombstone: false });
    }
    pub fn tombstone(&mut self, key: Arc<str>, row: u64) {
        self.0.push_back(Superseded { key, row, at: row, tombstone: true });
    }
    /// Takes the rows that compaction at `revision` may delete.
    pub fn take(&mut self, revision: u64) -> Vec<u64> {
        let n = self.0.partition_point(|s| s.at <= revision);
        let taken = self.0.drain(..n).map(|s| s.row).collect();
        if self.0.capacity() > 4096 && self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(self.0.len() * 2);
        }
        taken
    }
    /// The rows under `prefix` that were the state at `at` and are not any more.
    pub fn live_at<'a>(&'a self, prefix: &'a str, at: u64) -> impl Iterator<Item = u64> + 'a {
        let from = self.0.partition_point(|s| s.at <= at);
        self.0.range(from..).filter(move |s| s.row <= at && !s.tombstone && s.key.starts_with(prefix)).map(|s| s.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn rows_die_when_what_superseded_them_is_compacted() {
        let mut g = Garbage::default();
        let key: Arc<str> = "pods/a/x".into();
        g.superseded(key.clone(), 1, 4);
        g.superseded(key.clone(), 4, 6);
        g.tombstone(key.clone(), 6);
        g.superseded("pods/b/x".into(), 5, 9);
        assert_eq!(g.live_at("pods/", 3).collect::<Vec<_>>(), [1]);
        assert_eq!(g.live_at("pods/", 5).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(g.live_at("pods/a/", 7).count(), 0);
        assert_eq!(g.take(5), [1]);
        assert_eq!(g.take(6), [4, 6]);
        assert_eq!(g.live_at("pods/", 8).collect::<Vec<_>>(), [5]);
    }
}
