//! Buckets that need no bounds: each is a fixed part wider than the one before, and only those that hold something are kept.
//!
//! Bucket `i` of schema `s` reaches up to 2^(i·2^-s). When there are too many, two become one: the schema falls by one.
use std::collections::BTreeMap;

/// A bucket is at most 10 % wider than the one before.
const FINEST: i32 = 3;
const COARSEST: i32 = -4;
/// More buckets are not kept.
const MOST: usize = 160;
/// What is no larger than this is nothing.
pub(super) const ZERO: f64 = 2.938_735_877_055_719e-39;

#[derive(Clone, Debug)]
pub(super) struct Native {
    pub schema: i32,
    pub zero: u64,
    pub buckets: BTreeMap<i32, u64>,
}

impl Default for Native {
    fn default() -> Self {
        Self { schema: FINEST, zero: 0, buckets: BTreeMap::new() }
    }
}

impl Native {
    pub fn observe(&mut self, value: f64) {
        if value.is_nan() || value <= ZERO {
            self.zero += 1;
            return;
        }
        // Of two buckets that become one, the upper one ends where it ends.
        let merged = FINEST - self.schema;
        *self.buckets.entry((finest(value) + (1 << merged) - 1) >> merged).or_default() += 1;
        while self.buckets.len() > MOST && self.schema > COARSEST {
            self.coarsen();
        }
    }
    pub fn add(&mut self, mut other: Self) {
        while self.schema > other.schema {
            self.coarsen();
        }
        while other.schema > self.schema {
            other.coarsen();
        }
        self.zero += other.zero;
        for (index, n) in other.buckets {
            *self.buckets.entry(index).or_default() += n;
        }
        while self.buckets.len() > MOST && self.schema > COARSEST {
            self.coarsen();
        }
    }
    fn coarsen(&mut self) {
        self.schema -= 1;
        for (index, n) in std::mem::take(&mut self.buckets) {
            *self.buckets.entry((index + 1).div_euclid(2)).or_default() += n;
        }
    }
    /// Runs of buckets: the gap before each (of the first one, where it begins), and their counts.
    pub fn spans(&self) -> Vec<(i32, Vec<u64>)> {
        let mut out: Vec<(i32, Vec<u64>)> = Vec::new();
        let mut end = 0;
        for (index, n) in &self.buckets {
            match out.last_mut().filter(|_| *index == end) {
                Some((_, run)) => run.push(*n),
                None => out.push((index - end, vec![*n])),
            }
            end = index + 1;
        }
        out
    }
}

/// The finest schema's bucket of a positive number: its exponent, and between which eighths of a power its fraction is. A logarithm would
/// be most of what an observation takes, and a write has some eighty.
fn finest(value: f64) -> i32 {
    /// 2^(i/8).
    #[expect(clippy::approx_constant, reason = "a root among roots: the others have no name")]
    const EIGHTHS: [f64; 1 << FINEST] =
        [1.0, 1.0905077326652577, 1.189207115002721, 1.2968395546510096, 1.4142135623730951, 1.5422108254079407, 1.681792830507429, 1.8340080864093424];
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let fraction = f64::from_bits(bits & ((1 << 52) - 1) | (1023 << 52));
    (exponent << FINEST) + EIGHTHS.iter().filter(|e| **e < fraction).count() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_logarithm() {
        let close = |v: f64| (v.log2() * 8.0).fract().abs() < 1e-9;
        let values =
            (1..20_000).map(|i| f64::from(i) * 1.37e-5).chain((-120..120).map(|e| f64::from(e).exp2())).chain([1e300, 3e-39, 0.1, 5e-324_f64.max(1e-30)]);
        for schema in [FINEST, 2, 0, COARSEST] {
            for value in values.clone().filter(|v| !close(*v) || v.log2().fract() == 0.0) {
                let mut n = Native { schema, ..Native::default() };
                n.observe(value);
                let index = (value.log2() * f64::from(schema).exp2()).ceil() as i32;
                assert_eq!(n.buckets.keys().collect::<Vec<_>>(), [&index], "{value} at {schema}");
            }
        }
    }
    #[test]
    fn buckets_reach_up_to_powers() {
        let mut n = Native::default();
        for v in [0.0, 1.0, 1.01, 2.0, 2.0, 0.5, 100.0] {
            n.observe(v);
        }
        assert_eq!((n.zero, n.buckets.iter().map(|(i, c)| (*i, *c)).collect::<Vec<_>>()), (1, vec![(-8, 1), (0, 1), (1, 1), (8, 2), (54, 1)]));
        assert_eq!(n.spans(), [(-8, vec![1]), (7, vec![1, 1]), (6, vec![2]), (45, vec![1])]);
    }
    #[test]
    fn many_become_coarse() {
        let mut n = Native::default();
        (-400..400).for_each(|i| n.observe(f64::from(i).exp2()));
        assert!(n.schema < 0 && n.buckets.len() <= MOST);
        // The smallest of them count as nothing.
        assert_eq!(n.zero + n.buckets.values().sum::<u64>(), 800);
        // The bound of a coarse bucket is the same power.
        let mut fine = Native::default();
        fine.observe(3.0);
        fine.coarsen();
        let mut coarse = Native { schema: FINEST - 1, ..Native::default() };
        coarse.observe(3.0);
        assert_eq!(fine.buckets, coarse.buckets);
    }
}
