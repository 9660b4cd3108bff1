//! Priority and fairness at the door: who waits for a seat, what a request weighs, and the answer of those turned away.
//!
//! A request is classified once its user is known and before anything is asked about it. Watches hold seats until their
//! present state has been read, connections none. Clients in this process do not pass here.

mod objects;
mod sizes;

use crate::{
    answer::{Reply, full},
    asked::Asked,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use parking_lot::Mutex;
use skiff_flowcontrol::{Admitted, Class, FlowControl, Refused, Request, Table, Watchers, Watching, Work};
use skiff_meta::{FieldSelector, Timestamp};
use skiff_registry::Registry;
use skiff_request::{Target, User, Verb};
use skiff_telemetry::metrics::{Exposition, Timing};
use std::{sync::Arc, time::Instant};

pub(crate) use objects::{create, follow};
pub(crate) use sizes::Sizes;

pub(crate) struct Flow {
    pub control: Arc<FlowControl>,
    watchers: Arc<Watchers>,
    /// What lists weighed when they were last answered.
    pub sizes: Sizes,
    /// Requests that wait and that run: of writes, and of reads.
    waiting: Arc<Tallies>,
    running: Arc<Tallies>,
    seats: u64,
    begun: Instant,
}

/// So many requests, and how many they were before.
struct Tally(Mutex<(i64, Timing)>);

/// Bounds of shares of what there is room for.
const SHARES: &[f64] = &[0.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

impl Default for Tally {
    fn default() -> Self {
        Self(Mutex::new((0, Timing::new(SHARES, 0.0))))
    }
}
impl Tally {
    fn add(&self, n: i64, room: u64, now: f64) {
        let (count, past) = &mut *self.0.lock();
        *count += n;
        past.set(*count as f64 / room as f64, now);
    }
}

/// Of writes, and of reads.
type Tallies = [Tally; 2];

/// Held while a request runs.
pub(crate) struct Passing {
    _seat: Option<Admitted>,
    _counted: Counted,
}

struct Counted {
    of: Arc<Tallies>,
    kind: usize,
    /// As many as there is room for.
    room: u64,
    begun: Instant,
}

impl Counted {
    fn up(of: &Arc<Tallies>, kind: usize, room: u64, begun: Instant) -> Self {
        of[kind].add(1, room, begun.elapsed().as_secs_f64());
        Self { of: of.clone(), kind, room, begun }
    }
}
impl Drop for Counted {
    fn drop(&mut self) {
        self.of[self.kind].add(-1, self.room, self.begun.elapsed().as_secs_f64());
    }
}

impl Flow {
    /// `seats`: how many requests of one seat run at once.
    pub fn new(registry: &Registry, seats: u64) -> Self {
        Self {
            control: FlowControl::new(seats, objects::stored(registry)),
            watchers: Arc::default(),
            sizes: Sizes::default(),
            waiting: Default::default(),
            running: Default::default(),
            seats: seats.max(1),
            begun: Instant::now(),
        }
    }

    pub fn classify(&self, parts: &Parts, asked: &Asked, user: &User) -> Option<Class> {
        // Connections last as long as clients like: they would hold their seats for ever.
        if asked.long_running && asked.verb != Some(Verb::Watch) {
            return None;
        }
        self.control.classify(&Request { user, verb: asked.word, ask: asked.ask(parts) })
    }

    /// Waits for seats.
    pub async fn enter(&self, class: Option<&Class>, parts: &Parts, asked: &Asked, user: &Arc<User>) -> Result<Passing, Refused> {
        let kind = usize::from(!asked.mutating());
        let seat = match class {
            Some(class) => {
                let _waits = Counted::up(&self.waiting, kind, 1, self.begun);
                Some(self.control.admit(class, user, asked.word, asked.ask(parts), parts.uri.path(), self.work(class, asked)).await?)
            }
            None => None,
        };
        Ok(Passing { _seat: seat, _counted: Counted::up(&self.running, kind, self.seats, self.begun) })
    }

    fn work(&self, class: &Class, asked: &Asked) -> Work {
        let (Some(target), Some(verb)) = (asked.target(), asked.verb) else { return Work::of(1) };
        match verb {
            Verb::Watch if !begins_with_state(asked) => Work::of(1),
            Verb::List | Verb::Watch if one_name(asked) => Work::of(1),
            Verb::List | Verb::Watch => {
                let (objects, bytes) = self.sizes.of(target);
                let limit = asked.query.get("limit").and_then(|l| l.parse().ok()).unwrap_or_default();
                Work::list(objects, bytes, limit, class.widest())
            }
            Verb::Get | Verb::DeleteCollection => Work::of(1),
            _ => {
                let watches = self.watchers.interested(target, verb);
                class.watched(watches);
                Work::write(watches, class.widest())
            }
        }
    }

    /// Counts a watch among those that writes are paid for. Those that a field narrows to a node's pods are not.
    pub fn watching(&self, asked: &Asked) -> Option<Watching> {
        let target = asked.target()?;
        let narrow = &*target.resource.resource == "pods" && selector(asked).is_some_and(|s| s.required("spec.nodeName").is_some_and(|n| !n.is_empty()));
        (!narrow).then(|| self.watchers.begin(target))
    }

    fn inflight(&self) -> [(&'static str, i64, i64); 2] {
        let of = |i: usize| (self.running[i].0.lock().0, self.waiting[i].0.lock().0);
        [("mutating", of(0).0, of(0).1), ("readOnly", of(1).0, of(1).1)]
    }

    pub fn metrics(&self, out: &mut Exposition) {
        for (name, help, of) in
            [("apiserver_current_inflight_requests", "Requests that run", 0), ("apiserver_current_inqueue_requests", "Requests that wait", 1)]
        {
            out.family(name, "gauge", help);
            for (kind, running, waiting) in self.inflight() {
                out.sample(name, &[("request_kind", kind)], if of == 0 { running } else { waiting });
            }
        }
        self.control.metrics(out);
        let (name, now) = ("apiserver_flowcontrol_read_vs_write_current_requests", self.begun.elapsed().as_secs_f64());
        out.family(name, "histogram", "Requests as a share of those that there is room for, by how long");
        for (phase, tallies) in [("executing", &self.running), ("waiting", &self.waiting)] {
            for (kind, tally) in ["mutating", "readOnly"].iter().zip(tallies.iter()) {
                out.timing(name, &[("phase", phase), ("request_kind", kind)], &tally.0.lock().1, now);
            }
        }
    }

    /// The debug table at a path below `/debug/api_priority_and_fairness/`.
    pub fn dump(&self, which: &str, details: bool) -> Option<String> {
        let table = match which {
            "dump_priority_levels" => Table::Levels,
            "dump_queues" => Table::Queues,
            "dump_requests" => Table::Requests { details },
            _ => return None,
        };
        let place = |path: &str| match crate::route::route(path) {
            crate::route::Route::Resource { target, .. } => Some(target),
            _ => None,
        };
        Some(self.control.dump(table, &place, &|t| Timestamp::from_system(t).to_string()))
    }
}

fn selector(asked: &Asked) -> Option<FieldSelector> {
    FieldSelector::parse(asked.query.get("fieldSelector")?).ok()
}

/// A list that its field selector narrows to one object costs as much as that.
fn one_name(asked: &Asked) -> bool {
    asked.target().is_some_and(|t: &Target| !t.name.is_empty()) || selector(asked).is_some_and(|s| s.required("metadata.name").is_some_and(|n| !n.is_empty()))
}

/// Whether a watch sends the present state before changes.
fn begins_with_state(asked: &Asked) -> bool {
    match asked.query.get("sendInitialEvents") {
        Some(_) => asked.query.flag("sendInitialEvents"),
        None => matches!(asked.query.get("resourceVersion"), None | Some("" | "0")),
    }
}

/// Tells the client where its request belonged: by uid, for names may tell too much.
pub(crate) fn tell(headers: &mut HeaderMap, class: &Class) {
    let (schema, level) = class.uids();
    for (name, uid) in [("x-kubernetes-pf-flowschema-uid", schema), ("x-kubernetes-pf-prioritylevel-uid", level)] {
        if let Ok(v) = HeaderValue::from_str(uid) {
            headers.insert(name, v);
        }
    }
}

pub(crate) fn refusal(refused: &Refused) -> Response<Reply> {
    let mut r = Response::new(full("Too many requests, please try again later.\n"));
    *r.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    r.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(refused.retry_after));
    r
}
