//! How full a level was over time, for metrics: shares of its limits, each weighted by how long it lasted.
use crate::{config::Response, queues::Queues};
use skiff_telemetry::metrics::Timing;

const REQUESTS: &[f64] = &[0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0];
const SEATS: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
const DEMAND: &[f64] = &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];

#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// Requests that run, of as many as there are seats.
    pub executing: Timing,
    /// Requests that wait, of as many as the queues hold.
    pub waiting: Timing,
    /// Seats in use, of those that there are.
    pub seats: Timing,
    /// Seats that could be used, of the level's own.
    pub demand: Timing,
    own: u64,
    room: u64,
}

impl Usage {
    pub fn new(response: Response, own: u64, now: f64) -> Self {
        let [executing, waiting] = [Timing::new(REQUESTS, now), Timing::new(REQUESTS, now)];
        let mut out = Self { executing, waiting, seats: Timing::new(SEATS, now), demand: Timing::new(DEMAND, now), own: 0, room: 0 };
        out.configure(response, own);
        out
    }
    /// `own`: the level's nominal seats.
    pub fn configure(&mut self, response: Response, own: u64) {
        self.own = own;
        self.room = if let Response::Queue(q) = response { (q.queues * q.length) as u64 } else { 0 };
    }
    pub fn set(&mut self, queues: &Queues, now: f64) {
        let share = |n: u64, of: u64| if of == 0 { n as f64 } else { n as f64 / of as f64 };
        let ((running, waiting), limit) = (queues.requests(), queues.limit());
        self.executing.set(share(running as u64, limit), now);
        self.waiting.set(share(waiting as u64, self.room), now);
        self.seats.set(share(queues.taken(), limit), now);
        self.demand.set(share(queues.demand(), self.own), now);
    }
}
