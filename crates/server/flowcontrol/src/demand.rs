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
    pub settled: Settled,
}

/// What a period showed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Settled {
    pub highest: f64,
    pub average: f64,
    pub deviation: f64,
    /// To be reckoned with in the next period: rises at once, falls slowly.
    pub smoothed: f64,
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
    /// Ends a period.
    pub fn settle(&mut self, at: f64) -> Settled {
        self.pass(at);
        let took = self.last - self.since;
        self.settled.highest = self.highest;
        if took > 0.0 {
            let average = self.sum / took;
            let deviation = (self.squares / took - average * average).max(0.0).sqrt();
            let envelope = average + deviation;
            let smoothed = envelope.max(KEPT * self.settled.smoothed + (1.0 - KEPT) * envelope);
            self.settled = Settled { highest: self.highest, average, deviation, smoothed };
        }
        (self.since, self.sum, self.squares, self.highest) = (self.last, 0.0, 0.0, self.now);
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn rises_at_once_and_falls_slowly() {
        let mut d = Demand::new(0.0);
        d.set(10, 0.0);
        assert_eq!(d.settle(10.0), Settled { highest: 10.0, average: 10.0, deviation: 0.0, smoothed: 10.0 });
        d.set(0, 10.0);
        let next = d.settle(20.0).smoothed;
        assert!((9.0..10.0).contains(&next), "{next}");
    }
    #[test]
    fn a_short_peak_counts_by_its_deviation() {
        let mut d = Demand::new(0.0);
        d.set(100, 0.0);
        d.set(0, 1.0);
        let s = d.settle(10.0);
        assert!((39.0..41.0).contains(&s.smoothed) && s.highest == 100.0, "{s:?}");
    }
}
