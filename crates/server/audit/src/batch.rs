//! How events are gathered before they are sent, and how often. Pure.
use std::time::Duration;

/// Upstream's `--audit-*-batch-*`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batching {
    /// Events that wait; more are dropped.
    pub buffer: usize,
    /// Events in a batch.
    pub size: usize,
    /// How long the first event of a batch waits for others.
    pub wait: Duration,
    /// Batches a second, and how many at once after a pause; None: as many as there are.
    pub throttle: Option<(f64, usize)>,
}

impl Batching {
    pub const LOG: Self = Self { buffer: 10_000, size: 400, wait: Duration::ZERO, throttle: None };
    pub const WEBHOOK: Self = Self { buffer: 10_000, size: 400, wait: Duration::from_secs(30), throttle: Some((10.0, 15)) };
}

/// A bucket of permissions that fills with time.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: f64,
    burst: f64,
    has: f64,
    at: f64,
}

impl Throttle {
    pub fn new((rate, burst): (f64, usize), now: f64) -> Self {
        Self { rate: rate.max(0.001), burst: burst.max(1) as f64, has: burst.max(1) as f64, at: now }
    }
    /// Takes a permission and gives the seconds to wait before it holds.
    pub fn take(&mut self, now: f64) -> f64 {
        self.has = (self.has + (now - self.at).max(0.0) * self.rate).min(self.burst) - 1.0;
        self.at = self.at.max(now);
        (-self.has / self.rate).max(0.0)
    }
}

/// Parts of `sizes`, in order, none of which is larger than `most` bytes in all unless it is one alone: as numbers of items.
pub(crate) fn split(sizes: &[usize], most: usize) -> Vec<usize> {
    let (mut out, mut count, mut sum) = (Vec::new(), 0, 0);
    for size in sizes {
        if count > 0 && sum + size > most {
            out.push(std::mem::take(&mut count));
            sum = 0;
        }
        count += 1;
        sum += size;
    }
    if count > 0 {
        out.push(count);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_burst_then_the_rate() {
        let mut t = Throttle::new((10.0, 2), 0.0);
        let waits: Vec<f64> = [0.0, 0.0, 0.0, 0.0].iter().map(|now| t.take(*now)).collect();
        assert_eq!(waits, [0.0, 0.0, 0.1, 0.2]);
        assert_eq!(t.take(10.0), 0.0);
    }
    #[test]
    fn batches_keep_below_their_size() {
        assert_eq!(split(&[4, 4, 4, 20, 1], 10), [2, 1, 1, 1]);
        assert_eq!(split(&[], 10), Vec::<usize>::new());
        assert_eq!(split(&[1, 2, 3], 6), [3]);
    }
}
