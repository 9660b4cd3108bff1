//! One level at work: its queues under a lock, who is in them, and what is counted.
use crate::{
    config::Response,
    demand::{Demand, Settled},
    dropped::Dropped,
    estimate::Work,
    queues::{Arrival, QueuePicture, Queues, Why},
    usage::Usage,
};
use parking_lot::Mutex;
use skiff_request::User;
use skiff_telemetry::metrics::Histogram;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};
use tokio::sync::oneshot;

/// Counts of one schema's requests in one level. They outlive changes of both.
#[derive(Debug)]
pub(crate) struct Counts {
    pub level: Arc<str>,
    pub schema: Arc<str>,
    pub dispatched: AtomicU64,
    pub rejected: [AtomicU64; Why::ALL.len()],
    pub executing: AtomicI64,
    pub executing_seats: AtomicI64,
    pub waiting: AtomicI64,
    pub waiting_seats: AtomicI64,
    pub queue_length: Histogram,
    pub estimated: Histogram,
    /// Watches that a write may concern.
    pub watches: Histogram,
    /// Seconds in a queue of those that ran, and of those that were turned away.
    pub waited: [Histogram; 2],
    /// Seconds of running: of all but watches, and of watches while they begin.
    pub executed: [Histogram; 2],
}

const SECONDS: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const LENGTHS: &[f64] = &[0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const WATCHES: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];
const SEATS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];

impl Counts {
    pub fn new(level: Arc<str>, schema: Arc<str>) -> Self {
        Self {
            level,
            schema,
            dispatched: AtomicU64::new(0),
            rejected: Default::default(),
            executing: AtomicI64::new(0),
            executing_seats: AtomicI64::new(0),
            waiting: AtomicI64::new(0),
            waiting_seats: AtomicI64::new(0),
            queue_length: Histogram::new(LENGTHS),
            estimated: Histogram::new(SEATS),
            watches: Histogram::new(WATCHES),
            waited: [Histogram::new(SECONDS), Histogram::new(SECONDS)],
            executed: [Histogram::new(SECONDS), Histogram::new(SECONDS)],
        }
    }
    fn waits(&self, work: &Work, by: i64) {
        self.waiting.fetch_add(by, Ordering::Relaxed);
        self.waiting_seats.fetch_add(by * work.most() as i64, Ordering::Relaxed);
    }
    fn runs(&self, work: &Work, by: i64) {
        self.executing.fetch_add(by, Ordering::Relaxed);
        self.executing_seats.fetch_add(by * work.most() as i64, Ordering::Relaxed);
    }
    fn refuse(&self, why: Why) {
        if let Some(n) = self.rejected.get(why as usize) {
            n.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whose request it is, for the debug tables.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub counts: Arc<Counts>,
    pub user: Arc<User>,
    pub verb: &'static str,
    pub path: Arc<str>,
    pub flow: Arc<str>,
    pub work: Work,
    pub arrived: f64,
    pub started: Option<f64>,
}

struct Inside {
    queues: Queues,
    demand: Demand,
    usage: Usage,
    dropped: Dropped,
    guests: HashMap<u64, (Guest, Option<oneshot::Sender<()>>)>,
    next: u64,
}

pub(crate) struct Level {
    pub name: Arc<str>,
    inside: Mutex<Inside>,
}

/// What becomes of a request that comes to a level.
pub(crate) enum Entry {
    Runs(u64),
    Waits(u64, oneshot::Receiver<()>),
    /// With the seconds after which to come again.
    Refused(Why, u64),
}

/// A level as metrics and tables show it.
#[derive(Clone, Debug)]
pub(crate) struct LevelPicture {
    pub limit: u64,
    pub progress: f64,
    pub idle: bool,
    pub running: usize,
    pub waiting: usize,
    pub demand: Settled,
    pub usage: Usage,
    pub last_start: (f64, f64),
    pub queues: Vec<QueuePicture>,
    /// By number, with the queue that it came from if it runs.
    pub guests: Vec<(u64, Option<usize>, Guest)>,
}

impl Level {
    /// `own`: the level's nominal seats; `limit`: those that it begins with.
    pub fn new(name: Arc<str>, response: Response, own: u64, limit: u64, now: f64) -> Self {
        let inside = Inside {
            queues: Queues::new(response, limit, now),
            demand: Demand::new(now),
            usage: Usage::new(response, own, now),
            dropped: Dropped::default(),
            guests: HashMap::new(),
            next: 0,
        };
        Self { name, inside: Mutex::new(inside) }
    }

    pub fn enter(&self, flow: u64, guest: Guest) -> Entry {
        let mut inside = self.inside.lock();
        let inside = &mut *inside;
        let (id, now, work) = (inside.next, guest.arrived, guest.work);
        inside.next += 1;
        let counts = guest.counts.clone();
        match inside.queues.arrive(id, flow, work, now) {
            Err(why) => {
                counts.refuse(why);
                Entry::Refused(why, inside.dropped.note(now as u64))
            }
            Ok(Arrival::Runs) => {
                counts.runs(&work, 1);
                counts.dispatched.fetch_add(1, Ordering::Relaxed);
                inside.changed(now);
                inside.guests.insert(id, (Guest { started: Some(now), ..guest }, None));
                Entry::Runs(id)
            }
            Ok(Arrival::Waits(behind)) => {
                let (tell, turn) = oneshot::channel();
                counts.waits(&work, 1);
                counts.queue_length.observe(behind as f64);
                inside.guests.insert(id, (guest, Some(tell)));
                inside.wake(now);
                Entry::Waits(id, turn)
            }
        }
    }

    /// A request that ran is done. Gives the seconds after which to [`Level::release`] it, if that is not done already.
    pub fn finish(&self, id: u64, now: f64) -> Option<f64> {
        let mut inside = self.inside.lock();
        let lingers = inside.queues.finish(id, now)?;
        if let Some((guest, _)) = inside.guests.remove(&id) {
            guest.counts.runs(&guest.work, -1);
            guest.counts.executed[usize::from(guest.verb == "watch")].observe(guest.started.map_or(0.0, |s| now - s));
        }
        inside.wake(now);
        Some(lingers).filter(|l| *l > 0.0)
    }

    pub fn release(&self, id: u64, now: f64) {
        let mut inside = self.inside.lock();
        inside.queues.release(id, now);
        inside.wake(now);
    }

    /// A request gives up: `because` its time was over, which is the server's doing, or because its client went. None when
    /// it runs already; otherwise the seconds after which to come again.
    pub fn leave(&self, id: u64, because: Option<Why>, now: f64) -> Option<u64> {
        let mut inside = self.inside.lock();
        if !inside.queues.leave(id, now) {
            return None;
        }
        if let Some((guest, _)) = inside.guests.remove(&id) {
            guest.counts.waits(&guest.work, -1);
            guest.counts.waited[1].observe(now - guest.arrived);
            guest.counts.refuse(because.unwrap_or(Why::TimeOut));
        }
        inside.wake(now);
        Some(if because.is_some() { inside.dropped.note(now as u64) } else { 1 })
    }

    pub fn configure(&self, response: Response, own: u64, now: f64) {
        let mut inside = self.inside.lock();
        inside.usage.configure(response, own);
        inside.queues.set_response(response);
        inside.wake(now);
    }

    pub fn set_limit(&self, limit: u64, now: f64) {
        let mut inside = self.inside.lock();
        inside.queues.set_limit(limit);
        inside.wake(now);
    }

    pub fn settle(&self, now: f64) -> Settled {
        self.inside.lock().demand.settle(now)
    }

    /// What the last period showed.
    pub fn settled(&self) -> Settled {
        self.inside.lock().demand.settled
    }

    pub fn is_idle(&self) -> bool {
        self.inside.lock().queues.is_idle()
    }

    pub fn picture(&self) -> LevelPicture {
        let inside = self.inside.lock();
        let (running, waiting) = inside.queues.requests();
        let places: HashMap<u64, Option<usize>> = inside.queues.started().collect();
        LevelPicture {
            limit: inside.queues.limit(),
            progress: inside.queues.progress(),
            idle: inside.queues.is_idle(),
            running,
            waiting,
            demand: inside.demand.settled,
            usage: inside.usage.clone(),
            last_start: inside.queues.last_start(),
            queues: inside.queues.pictures(),
            guests: inside.guests.iter().map(|(id, (g, _))| (*id, places.get(id).copied().flatten(), g.clone())).collect(),
        }
    }
}

impl Inside {
    /// Starts whoever can be started.
    fn wake(&mut self, now: f64) {
        while let Some(id) = self.queues.next(now) {
            let Some((guest, tell)) = self.guests.get_mut(&id) else { continue };
            guest.started = Some(now);
            guest.counts.waits(&guest.work, -1);
            guest.counts.runs(&guest.work, 1);
            guest.counts.waited[0].observe(now - guest.arrived);
            guest.counts.dispatched.fetch_add(1, Ordering::Relaxed);
            // Who has gone meanwhile gives its seats back when it is dropped.
            let _ = tell.take().map(|t| t.send(()));
        }
        self.changed(now);
    }
    fn changed(&mut self, now: f64) {
        self.demand.set(self.queues.demand(), now);
        self.usage.set(&self.queues, now);
    }
}
