//! All levels together: from a request to its class, from there to a seat; the clock, the waiting and the lending.
use crate::{
    classify::{Ask, Request},
    config::{Configuration, Response, Schema},
    estimate::Work,
    level::{Counts, Entry, Guest, Level},
    limits::{Bounds, Claim, bounds, lend},
    queues::Why,
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use skiff_request::User;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Nobody waits longer for a seat.
const PATIENCE: Duration = Duration::from_secs(15);
/// Seats are lent anew this often.
const ADJUST_EVERY: Duration = Duration::from_secs(10);

/// A schema with the level that its requests go to.
struct Active {
    schema: Schema,
    level: Arc<Level>,
    level_uid: Arc<str>,
    response: Response,
    widest: u64,
    counts: Arc<Counts>,
}

/// A level that is declared, or was and is not empty yet.
pub(crate) struct Standing {
    pub level: Arc<Level>,
    pub bounds: Bounds,
    pub exempt: bool,
    /// It is declared no longer.
    pub quiescing: bool,
}

struct Standings {
    by_name: BTreeMap<Arc<str>, Standing>,
    counts: HashMap<(Arc<str>, Arc<str>), Arc<Counts>>,
}

pub struct FlowControl {
    seats: u64,
    clock: Clock,
    /// In the order in which they are tried; the last one takes everybody.
    schemas: ArcSwap<Vec<Arc<Active>>>,
    standings: Mutex<Standings>,
    fraction: AtomicU64,
}

#[derive(Clone, Copy)]
pub(crate) struct Clock {
    begun: Instant,
    pub born: SystemTime,
}

impl Clock {
    pub fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

/// Where a request belongs.
#[derive(Clone)]
pub struct Class(Arc<Active>);

impl Class {
    /// The uids of the schema and of the level, for the answer's headers.
    pub fn uids(&self) -> (&str, &str) {
        (&self.0.schema.uid, &self.0.level_uid)
    }
    /// The names of the schema and of the level, for logs.
    pub fn names(&self) -> (&str, &str) {
        (&self.0.schema.name, &self.0.level.name)
    }
    /// A write comes that so many watches may be told of.
    pub fn watched(&self, watches: u64) {
        self.0.counts.watches.observe(watches as f64);
    }
    /// How many seats one request may hold.
    pub fn widest(&self) -> u64 {
        self.0.widest
    }
}

/// A request that may go on; its seats are free again when this is dropped.
pub struct Admitted {
    _seat: Seat,
}

/// A request that may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub why: Why,
    /// Seconds after which to come again.
    pub retry_after: u64,
}

/// What a request holds: dropped, it gives up waiting, or its seats.
struct Seat {
    level: Arc<Level>,
    clock: Clock,
    id: u64,
}

impl FlowControl {
    /// `seats`: how many requests of one seat run at once, all levels together.
    pub fn new(seats: u64, config: Configuration) -> Arc<Self> {
        let clock = Clock { begun: Instant::now(), born: SystemTime::now() };
        let standings = Standings { by_name: BTreeMap::new(), counts: HashMap::new() };
        let control = Self { seats, clock, schemas: ArcSwap::default(), standings: Mutex::new(standings), fraction: AtomicU64::new(0) };
        control.configure(config);
        Arc::new(control)
    }

    /// Takes new declarations. What runs or waits in a level that is gone ends there.
    pub fn configure(&self, config: Configuration) {
        let now = self.clock.now();
        let shares = bounds(&config.levels, self.seats);
        let mut standings = self.standings.lock();
        let Standings { by_name, counts } = &mut *standings;
        for s in by_name.values_mut() {
            s.quiescing = true;
        }
        let mut declared: HashMap<Arc<str>, (Arc<Level>, Arc<str>, Response, u64)> = HashMap::new();
        for (config, bounds) in config.levels.iter().zip(shares) {
            let fresh = || Arc::new(Level::new(config.name.clone(), config.response, bounds.nominal, bounds.first(), now));
            let level = by_name.get(&config.name).map_or_else(fresh, |s| s.level.clone());
            level.configure(config.response, bounds.nominal, now);
            let widest = if let Response::Queue(q) = config.response { bounds.widest(q.hand) } else { u64::MAX };
            declared.insert(config.name.clone(), (level.clone(), config.uid.clone(), config.response, widest));
            by_name.insert(config.name.clone(), Standing { level, bounds, exempt: config.response == Response::Exempt, quiescing: false });
        }
        by_name.retain(|_, s| !s.quiescing || !s.level.is_idle());
        let active = |schema: &Schema| {
            let (level, level_uid, response, widest) = declared.get(&schema.level)?.clone();
            let key = (level.name.clone(), schema.name.clone());
            let fresh = || Arc::new(Counts::new(level.name.clone(), schema.name.clone()));
            let counts = counts.entry(key).or_insert_with(fresh).clone();
            Some(Arc::new(Active { schema: schema.clone(), level, level_uid, response, widest, counts }))
        };
        let schemas: Vec<Arc<Active>> = config.schemas.iter().filter_map(active).collect();
        // Counts of pairs that are gone are kept only while somebody is counted in them.
        counts.retain(|_, c| schemas.iter().any(|s| Arc::ptr_eq(&s.counts, c)) || Arc::strong_count(c) > 1);
        self.schemas.store(Arc::new(schemas));
        self.lend(&standings, now, false);
    }

    /// Lends seats until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut every = tokio::time::interval(ADJUST_EVERY);
        every.tick().await;
        loop {
            every.tick().await;
            let mut standings = self.standings.lock();
            standings.by_name.retain(|_, s| !s.quiescing || !s.level.is_idle());
            self.lend(&standings, self.clock.now(), true);
        }
    }

    fn lend(&self, standings: &Standings, now: f64, settle: bool) {
        let all: Vec<&Standing> = standings.by_name.values().collect();
        let wanted = |s: &Standing| if settle { s.level.settle(now) } else { s.level.settled() };
        let claims: Vec<Claim> = all.iter().map(|s| Claim { exempt: s.exempt, bounds: s.bounds, wanted: wanted(s) }).collect();
        let lent = lend(&claims);
        self.fraction.store(lent.fraction.to_bits(), Ordering::Relaxed);
        // Before anything is known of what is wanted, each level stays as it began.
        let known = claims.iter().any(|c| c.wanted.smoothed > 0.0);
        for (s, limit) in all.iter().zip(lent.limits).filter(|_| known || settle) {
            s.level.set_limit(limit, now);
        }
    }

    /// Where a request belongs: the first schema that matches. A user in no group at all is caught by the last.
    pub fn classify(&self, r: &Request<'_>) -> Option<Class> {
        let schemas = self.schemas.load();
        schemas.iter().find(|s| s.schema.matches(r)).or_else(|| schemas.last()).cloned().map(Class)
    }

    /// Waits for seats. `path`: what the debug tables call the request.
    pub async fn admit(&self, class: &Class, user: &Arc<User>, verb: &'static str, ask: Ask<'_>, path: &str, work: Work) -> Result<Admitted, Refused> {
        let (active, level) = (&class.0, &class.0.level);
        let r = Request { user, verb, ask };
        let flow: Arc<str> = active.schema.distinguisher(&r).into();
        let guest = Guest { counts: active.counts.clone(), user: user.clone(), verb, path: path.into(), flow, work, arrived: self.clock.now(), started: None };
        active.counts.estimated.observe(work.most() as f64);
        let number = if matches!(active.response, Response::Queue(_)) { active.schema.flow(&r) } else { 0 };
        let seat = |id| Seat { level: level.clone(), clock: self.clock, id };
        let (seat, turn) = match level.enter(number, guest) {
            Entry::Runs(id) => return Ok(Admitted { _seat: seat(id) }),
            Entry::Refused(why, retry_after) => return Err(Refused { why, retry_after }),
            Entry::Waits(id, turn) => (seat(id), turn),
        };
        if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, turn).await {
            return Ok(Admitted { _seat: seat });
        }
        match level.leave(seat.id, Some(Why::TimeOut), self.clock.now()) {
            Some(retry_after) => Err(Refused { why: Why::TimeOut, retry_after }),
            // Its turn came at the very last moment.
            None => Ok(Admitted { _seat: seat }),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }
    pub(crate) fn fraction(&self) -> f64 {
        f64::from_bits(self.fraction.load(Ordering::Relaxed))
    }
    /// Every level, by name.
    pub(crate) fn each_level(&self, mut see: impl FnMut(&Standing)) {
        self.standings.lock().by_name.values().for_each(&mut see);
    }
    pub(crate) fn counts(&self) -> Vec<Arc<Counts>> {
        let mut all: Vec<Arc<Counts>> = self.standings.lock().counts.values().cloned().collect();
        all.sort_by(|a, b| (&a.level, &a.schema).cmp(&(&b.level, &b.schema)));
        all
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.clock.now();
        match self.level.finish(self.id, now) {
            Some(seconds) => linger(self.level.clone(), self.clock, self.id, seconds),
            None => drop(self.level.leave(self.id, None, now)),
        }
    }
}

/// Frees seats later. Without a runtime, which means that the process ends, at once.
fn linger(level: Arc<Level>, clock: Clock, id: u64, seconds: f64) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            level.release(id, clock.now());
        })),
        Err(_) => level.release(id, clock.now()),
    }
}

#[cfg(test)]
mod tests;
