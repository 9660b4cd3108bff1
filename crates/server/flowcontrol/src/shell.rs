//! The lock, the waiting and the clock around the core.
use crate::{
    classify::Request,
    config::Configuration,
    core::{Class, Core, Picture},
    queues::Why,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fmt::Write,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// Nobody waits longer for a seat.
const PATIENCE: Duration = Duration::from_secs(15);
/// Seats are lent anew this often.
const ADJUST_EVERY: Duration = Duration::from_secs(10);

pub struct FlowControl {
    state: Mutex<State>,
    begun: Instant,
}

struct State {
    core: Core,
    waiting: HashMap<u64, oneshot::Sender<()>>,
}

/// A request that may go on; its seats are free again when this is dropped.
pub struct Admitted {
    of: Arc<FlowControl>,
    class: Class,
    seat: Option<Seat>,
}

/// A request that may not.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub why: Why,
    pub schema_uid: String,
    pub level_uid: String,
}

/// What a request holds: dropped, it gives up waiting, or its seats.
struct Seat {
    of: Arc<FlowControl>,
    id: u64,
}

impl FlowControl {
    /// `seats`: how many requests of one seat run at once, all levels together.
    pub fn new(seats: u64, config: Configuration) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { core: Core::new(seats, config, 0.0), waiting: HashMap::new() }), begun: Instant::now() })
    }

    fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub fn configure(&self, config: Configuration) {
        let mut state = self.state.lock();
        state.core.configure(config, self.now());
        state.wake(self.now());
    }

    /// Lends seats until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut every = tokio::time::interval(ADJUST_EVERY);
        loop {
            every.tick().await;
            let mut state = self.state.lock();
            state.core.adjust(self.now());
            state.wake(self.now());
        }
    }

    /// Waits for a seat. `seats`: how much the request weighs.
    pub async fn admit(self: &Arc<Self>, request: &Request<'_>, seats: u64) -> Result<Admitted, Refused> {
        let (class, seat, turn) = {
            let mut state = self.state.lock();
            let Some(class) = state.core.classify(request) else { return Ok(Admitted { of: self.clone(), class: Class::default(), seat: None }) };
            if class.exempt {
                return Ok(Admitted { of: self.clone(), class, seat: None });
            }
            let id = state.core.arrive(&class, seats, self.now()).map_err(|why| refused(&class, why))?;
            let (tell, turn) = oneshot::channel();
            let queued = state.core.queues(&class);
            if queued {
                state.waiting.insert(id, tell);
                state.wake(self.now());
            }
            (class, Seat { of: self.clone(), id }, queued.then_some(turn))
        };
        let Some(turn) = turn else { return Ok(Admitted { of: self.clone(), class, seat: Some(seat) }) };
        match tokio::time::timeout(PATIENCE, turn).await {
            Ok(Ok(())) => Ok(Admitted { of: self.clone(), class, seat: Some(seat) }),
            Ok(Err(_)) | Err(_) => {
                let given_up = self.state.lock().leave(seat.id, Some(Why::TimeOut), self.now());
                // Its turn came at the very last moment.
                if given_up { Err(refused(&class, Why::TimeOut)) } else { Ok(Admitted { of: self.clone(), class, seat: Some(seat) }) }
            }
        }
    }

    /// In Prometheus's text form.
    pub fn metrics(&self) -> String {
        let pictures = self.state.lock().core.pictures();
        let mut out = String::new();
        type Row = (&'static str, &'static str, fn(&Picture) -> u64);
        let rows: [Row; 5] = [
            ("apiserver_flowcontrol_nominal_limit_seats", "Seats of the level's own.", |p| p.nominal),
            ("apiserver_flowcontrol_current_limit_seats", "Seats of the level at present, with what is lent.", |p| p.limit),
            ("apiserver_flowcontrol_current_executing_seats", "Seats that are taken.", |p| p.seats),
            ("apiserver_flowcontrol_current_executing_requests", "Requests that run.", |p| p.running as u64),
            ("apiserver_flowcontrol_current_inqueue_requests", "Requests that wait.", |p| p.waiting as u64),
        ];
        for (name, help, of) in rows {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
            pictures.iter().for_each(|p| drop(writeln!(out, "{name}{{priority_level={:?}}} {}", p.name, of(p))));
        }
        out += "# HELP apiserver_flowcontrol_dispatched_requests_total Requests that ran.\n# TYPE apiserver_flowcontrol_dispatched_requests_total counter\n";
        pictures.iter().for_each(|p| drop(writeln!(out, "apiserver_flowcontrol_dispatched_requests_total{{priority_level={:?}}} {}", p.name, p.counts.dispatched)));
        out += "# HELP apiserver_flowcontrol_rejected_requests_total Requests that were turned away.\n# TYPE apiserver_flowcontrol_rejected_requests_total counter\n";
        for p in &pictures {
            p.counts.rejected.iter().for_each(|(why, n)| drop(writeln!(out, "apiserver_flowcontrol_rejected_requests_total{{priority_level={:?},reason={:?}}} {n}", p.name, why.as_str())));
        }
        out
    }
}

impl State {
    fn wake(&mut self, now: f64) {
        for id in self.core.started(now) {
            if let Some(tell) = self.waiting.remove(&id) {
                let _ = tell.send(());
            }
        }
    }
    fn leave(&mut self, id: u64, why: Option<Why>, now: f64) -> bool {
        self.waiting.remove(&id);
        self.core.leave(id, why, now)
    }
}

fn refused(class: &Class, why: Why) -> Refused {
    Refused { why, schema_uid: class.schema_uid.clone(), level_uid: class.level_uid.clone() }
}

impl Admitted {
    /// The uids of the schema and of the level, for the answer's headers.
    pub fn uids(&self) -> (&str, &str) {
        (&self.class.schema_uid, &self.class.level_uid)
    }
    /// Gives the seats back before the answer is done: a watch that has begun.
    pub fn release(&mut self) {
        self.seat = None;
    }
    pub fn control(&self) -> &Arc<FlowControl> {
        &self.of
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.of.now();
        let mut state = self.of.state.lock();
        if !state.leave(self.id, None, now) {
            state.core.finish(self.id, now);
        }
        state.wake(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Ask;
    use serde_json::json;
    use skiff_request::User;

    fn control(seats: u64) -> Arc<FlowControl> {
        let level = json!({"metadata": {"name": "l", "uid": "ul"}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1000, "limitResponse": {"type": "Queue", "queuing": {"queues": 4, "handSize": 1, "queueLengthLimit": 2}}}}});
        let schema = json!({"metadata": {"name": "s", "uid": "us"}, "spec": {"matchingPrecedence": 10, "priorityLevelConfiguration": {"name": "l"},
            "rules": [{"subjects": [{"kind": "Group", "group": {"name": "system:authenticated"}}], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
        FlowControl::new(seats, Configuration::read(&[schema], &[level]))
    }
    async fn ask(c: &Arc<FlowControl>, groups: [&str; 1]) -> Result<Admitted, Refused> {
        let user = User::new("u", groups);
        c.admit(&Request { user: &user, verb: "get", ask: Ask::Path("/") }, 1).await
    }
    const SOMEBODY: [&str; 1] = [User::AUTHENTICATED];

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_waited_for_and_given_on() {
        let c = control(1);
        let first = ask(&c, SOMEBODY).await.ok().unwrap();
        assert_eq!(first.uids(), ("us", "ul"));
        let other = c.clone();
        let second = tokio::spawn(async move { ask(&other, SOMEBODY).await.map(drop) });
        tokio::task::yield_now().await;
        assert!(c.metrics().contains("apiserver_flowcontrol_current_inqueue_requests{priority_level=\"l\"} 1"));
        drop(first);
        assert_eq!(second.await.unwrap(), Ok(()));
        assert!(c.metrics().contains("apiserver_flowcontrol_dispatched_requests_total{priority_level=\"l\"} 2"));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_full_queues_turn_away_but_not_the_exempt() {
        let c = control(1);
        let _held = ask(&c, SOMEBODY).await.ok().unwrap();
        let waiting: Vec<_> = (0..2).map(|_| { let c = c.clone(); tokio::spawn(async move { ask(&c, SOMEBODY).await.err().map(|r| r.why) }) }).collect();
        tokio::task::yield_now().await;
        assert_eq!(ask(&c, SOMEBODY).await.err(), Some(Refused { why: Why::QueueFull, schema_uid: "us".into(), level_uid: "ul".into() }));
        assert!(ask(&c, [User::MASTERS]).await.is_ok());
        for w in waiting {
            assert_eq!(w.await.unwrap(), Some(Why::TimeOut));
        }
        assert!(c.metrics().contains("apiserver_flowcontrol_rejected_requests_total{priority_level=\"l\",reason=\"time-out\"} 2"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_no_trace() {
        let c = control(1);
        let held = ask(&c, SOMEBODY).await.ok().unwrap();
        let other = c.clone();
        let gone = tokio::spawn(async move { ask(&other, SOMEBODY).await.map(drop) });
        tokio::task::yield_now().await;
        gone.abort();
        let _ = gone.await;
        assert!(c.metrics().contains("apiserver_flowcontrol_current_inqueue_requests{priority_level=\"l\"} 0"));
        drop(held);
        assert!(c.metrics().contains("apiserver_flowcontrol_current_executing_seats{priority_level=\"l\"} 0"));
        assert!(ask(&c, SOMEBODY).await.is_ok());
    }
}
