//! Sets of completion indexes, written as `1,3-5,7`.
use std::fmt;

/// Disjoint intervals in order; neighbours are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i64, i64)>);

impl Indexes {
    /// Reads the text form; what is not below `limit`, or no number, is left out.
    pub fn parse(text: &str, limit: i64) -> Self {
        let one = |part: &str| -> Option<(i64, i64)> {
            let (a, b) = part.split_once('-').unwrap_or((part, part));
            let (a, b) = (a.parse::<i64>().ok()?, b.parse::<i64>().ok()?.min(limit - 1));
            (a >= 0 && a <= b).then_some((a, b))
        };
        let mut out = Self::default();
        for (a, b) in text.split(',').filter_map(one) {
            out.join(a, b);
        }
        out
    }
    pub fn of(indexes: impl IntoIterator<Item = i64>) -> Self {
        let mut all: Vec<i64> = indexes.into_iter().collect();
        all.sort_unstable();
        let mut out = Self::default();
        all.into_iter().for_each(|i| out.join(i, i));
        out
    }
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<(i64, i64)> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut out = Self::default();
        all.into_iter().for_each(|(a, b)| out.join(a, b));
        out
    }
    /// Appends an interval that starts no earlier than the last.
    fn join(&mut self, a: i64, b: i64) {
        match self.0.last_mut() {
            Some((_, end)) if a <= *end + 1 => *end = (*end).max(b),
            _ => self.0.push((a, b)),
        }
    }
    pub fn has(&self, i: i64) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < i);
        self.0.get(at).is_some_and(|(start, _)| *start <= i)
    }
    pub fn total(&self) -> i64 {
        self.0.iter().map(|(a, b)| b - a + 1).sum()
    }
    pub fn common(&self, other: &Self) -> i64 {
        let overlap = |x: &(i64, i64), y: &(i64, i64)| (x.1.min(y.1) - x.0.max(y.0) + 1).max(0);
        self.0.iter().map(|x| other.0.iter().map(|y| overlap(x, y)).sum::<i64>()).sum()
    }
    /// The first `count` below `limit` that are not in the set.
    pub fn missing(&self, count: usize, limit: i64) -> Vec<i64> {
        let mut out = Vec::new();
        let mut next = 0;
        for (a, b) in self.0.iter().copied().chain([(limit, limit)]) {
            while next < a.min(limit) && out.len() < count {
                out.push(next);
                next += 1;
            }
            next = next.max(b + 1);
        }
        out
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (a, b)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match b - a {
                0 => write!(f, "{a}")?,
                1 => write!(f, "{a},{b}")?,
                _ => write!(f, "{a}-{b}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn text() {
        for (text, limit, expected) in
            [("", 5, ""), ("1,3-5,7", 10, "1,3-5,7"), ("0-2,3", 10, "0-3"), ("1,2", 10, "1,2"), ("1,3-9", 5, "1,3,4"), ("x,2,4-y,3-", 9, "2")]
        {
            assert_eq!(Indexes::parse(text, limit).to_string(), expected, "{text}");
        }
        assert_eq!(Indexes::parse("1,3-5", 9).missing(4, 9), [0, 2, 6, 7]);
        assert_eq!(Indexes::parse("0-9", 10).missing(4, 10), Vec::<i64>::new());
    }
    proptest! {
        #[test]
        fn like_a_set(a in proptest::collection::btree_set(0..40i64, 0..30), b in proptest::collection::btree_set(0..40i64, 0..30)) {
            let (x, y) = (Indexes::of(a.iter().copied()), Indexes::of(b.iter().copied()));
            let union: BTreeSet<i64> = a.union(&b).copied().collect();
            prop_assert_eq!(x.union(&y), Indexes::of(union.iter().copied()));
            prop_assert_eq!(x.total(), a.len() as i64);
            prop_assert_eq!(x.common(&y), a.intersection(&b).count() as i64);
            prop_assert_eq!(Indexes::parse(&x.to_string(), 40), x.clone());
            let missing: Vec<i64> = (0..40).filter(|i| !a.contains(i)).take(5).collect();
            prop_assert_eq!(x.missing(5, 40), missing);
            prop_assert!((0..40).all(|i| x.has(i) == a.contains(&i)));
        }
    }
}
