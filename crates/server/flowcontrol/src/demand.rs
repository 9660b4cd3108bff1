//! How many seats a level wanted over time: what lending goes by. Pure.

/// Seats that were executing or waited for, weighted by time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand {
    now: f64,
    since: f64,
    last: f64,
    sum: f64,
    squares: f64,
    highest: f64,
    smooth: f64,
}

/// How much of the past stays at each adjustment.
const KEPT: f64 = 0.977;

impl Demand {
    pub fn new(at: f64) -> Self {
        Self { since: at, last: at, ..Self::default() }
    }
    /// From `at` on so many seats are wanted.
    pub fn set(&mut self, seats: u64, at: f64) {
        self.pass(at);
        self.now = seats as f64;
        self.highest = self.highest.max(self.now);
    }
    fn pass(&mut self, at: f64) {
        let took = (at - self.last).max(0.0);
        self.sum += self.now * took;
        self.squares += self.now * self.now * took;
        self.last = self.last.max(at);
    }
    /// Ends a period: how many seats are to be reckoned with in the next. Rises at once, falls slowly.
    pub fn settle(&mut self, at: f64) -> f64 {
        self.pass(at);
        let took = self.last - self.since;
        let (average, deviation) = if took > 0.0 {
            let average = self.sum / took;
            (average, (self.squares / took - average * average).max(0.0).sqrt())
        } else {
            (self.now, 0.0)
        };
        let envelope = (average + deviation).min(self.highest);
        self.smooth = envelope.max(KEPT * self.smooth + (1.0 - KEPT) * envelope);
        (self.since, self.sum, self.squares, self.highest) = (self.last, 0.0, 0.0, self.now);
        self.smooth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn rises_at_once_and_falls_slowly() {
        let mut d = Demand::new(0.0);
        d.set(10, 0.0);
        assert_eq!(d.settle(10.0), 10.0);
        d.set(0, 10.0);
        let next = d.settle(20.0);
        assert!((9.0..10.0).contains(&next), "{next}");
    }
    #[test]
    fn a_short_peak_counts_by_its_deviation() {
        let mut d = Demand::new(0.0);
        d.set(100, 0.0);
        d.set(0, 1.0);
        let reckoned = d.settle(10.0);
        assert!((39.0..41.0).contains(&reckoned), "{reckoned}");
    }
}
