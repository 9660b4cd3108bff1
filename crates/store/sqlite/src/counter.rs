//! The revision counter, which never goes back.
//!
//! A durable row carries its revision, so it needs no more. Volatile commits take revisions too and leave no trace: so
//! a mark is kept on disk ahead of them, and after a crash the counter goes on at the mark. A clean close lowers the
//! mark to the last revision given out.

/// How far ahead revisions are reserved.
const BLOCK: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Counter {
    last: u64,
    reserved: u64,
}

impl Counter {
    /// `reserved` is the mark on disk, `highest` the highest revision of a row.
    pub fn resume(reserved: u64, highest: u64) -> Self {
        Self { last: reserved.max(highest), reserved }
    }
    pub fn last(&self) -> u64 {
        self.last
    }
    /// Takes note that revisions up to `last` were given out, whether or not their commit worked.
    pub fn advance(&mut self, last: u64) {
        self.last = self.last.max(last);
    }
    /// Whether volatile commits up to `last` need the mark moved first.
    pub fn lacks(&self, last: u64) -> bool {
        last > self.reserved
    }
    /// The mark to write when a transaction is made anyway and less than half a block is left.
    pub fn mark(&self, last: u64) -> Option<u64> {
        (self.reserved < last + BLOCK / 2).then_some(last + BLOCK)
    }
    /// The mark of a clean close, when it is another than the one on disk.
    pub fn settled(&self) -> Option<u64> {
        (self.reserved != self.last).then_some(self.last)
    }
    /// The mark is on disk.
    pub fn marked(&mut self, mark: u64) {
        self.reserved = mark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn goes_on_above_what_a_crash_took() {
        let mut counter = Counter::resume(0, 0);
        assert!(counter.lacks(1));
        counter.marked(counter.mark(1).unwrap());
        assert!(!counter.lacks(5_000) && counter.mark(5_000).is_none());
        counter.advance(9_000);
        assert_eq!(counter.mark(9_001), Some(19_001));
        let crashed = Counter::resume(counter.reserved, 100);
        assert!(crashed.last() > counter.last());
        assert_eq!(Counter::resume(50, 60).last(), 60, "durable rows may pass the mark");
    }
}
