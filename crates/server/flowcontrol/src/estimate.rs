//! What a request weighs before it has run. Pure.
//!
//! A list holds seats by the bytes that it will write, a write keeps seats for a moment beyond its end, for what its event
//! costs at those who watch. The figures are upstream's but for the last: an event is encoded once here, whoever watches.

/// Bytes of an answer that one seat writes.
const BYTES_PER_SEAT: u64 = 100_000;
/// Beyond this an answer is no dearer: its objects are shared with the store.
const MOST_BYTES: u64 = 1_000_000;
/// A list holds at most so many seats, a write a tenth.
const MOST_LIST_SEATS: u64 = 100;
const MOST_WRITE_SEATS: u64 = 10;
/// One seat is kept for so many watchers …
const WATCHERS_PER_SEAT: u64 = 10;
/// … for so long, seconds. (Upstream: 5 ms. A frame that is ready costs a watcher here some 10 µs.)
const EVENT: f64 = 0.000_1;

/// How many seats a request holds, and for how long after its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    pub seats: u64,
    pub final_seats: u64,
    /// Seconds for which `final_seats` are held beyond the end.
    pub lingers: f64,
}

impl Work {
    pub const fn of(seats: u64) -> Self {
        Self { seats, final_seats: 0, lingers: 0.0 }
    }
    pub(crate) fn most(&self) -> u64 {
        self.seats.max(self.final_seats)
    }
    /// Seat-seconds.
    pub(crate) fn total(&self) -> f64 {
        self.seats as f64 * crate::queues::GUESS + self.final_seats as f64 * self.lingers
    }
    /// The same work with no more than `limit` seats at its end.
    pub(crate) fn within(self, limit: u64) -> Self {
        if self.final_seats <= limit.max(1) {
            return self;
        }
        let seats = limit.max(1);
        Self { final_seats: seats, lingers: self.lingers * self.final_seats as f64 / seats as f64, ..self }
    }

    /// A list, or a watch that begins with the present state: `objects` of `bytes` in all are there, `limit` are wanted
    /// (0: all), and the level allows `most` seats.
    pub fn list(objects: u64, bytes: u64, limit: u64, most: u64) -> Self {
        let wanted = if limit > 0 { limit.min(objects) } else { objects };
        let bytes = (bytes / objects.max(1)).saturating_mul(wanted).min(MOST_BYTES);
        Self::of(bytes.div_ceil(BYTES_PER_SEAT).clamp(1, most.clamp(1, MOST_LIST_SEATS)))
    }

    /// A write whose event `watchers` may want.
    pub fn write(watchers: u64, most: u64) -> Self {
        if watchers < WATCHERS_PER_SEAT {
            return Self::of(1);
        }
        let wanted = watchers.div_ceil(WATCHERS_PER_SEAT);
        let seats = wanted.min(most.clamp(1, MOST_WRITE_SEATS));
        Self { seats: 1, final_seats: seats, lingers: wanted as f64 * EVENT / seats as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn lists_weigh_by_their_bytes() {
        for (objects, bytes, limit, most, seats) in [
            (0, 0, 0, 100, 1),
            (10, 99_999, 0, 100, 1),
            (1000, 999_999, 0, 100, 10),
            (1000, 1 << 30, 0, 100, 10),
            (1000, 1 << 30, 0, 4, 4),
            (1000, 10_000_000, 50, 100, 5),
            (5, 500_000, 500, 0, 1),
        ] {
            assert_eq!(Work::list(objects, bytes, limit, most), Work::of(seats), "{objects} {bytes} {limit} {most}");
        }
    }
    #[test]
    fn writes_weigh_by_their_watchers() {
        assert_eq!(Work::write(9, 10), Work::of(1));
        let w = Work::write(1000, 10);
        assert_eq!((w.seats, w.final_seats, w.most()), (1, 10, 10));
        assert!((w.lingers - 0.001).abs() < 1e-9);
        let narrow = w.within(4);
        assert_eq!(narrow.final_seats, 4);
        assert!((narrow.lingers * 4.0 - w.lingers * 10.0).abs() < 1e-9);
    }
}
