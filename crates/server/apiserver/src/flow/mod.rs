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
use skiff_flowcontrol::{Admitted, Class, FlowControl, Refused, Request, Table, Watchers, Watching, Work};
use skiff_meta::{FieldSelector, Timestamp};
use skiff_registry::Registry;
use skiff_request::{Target, User, Verb};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

pub(crate) use objects::{create, follow};
pub(crate) use sizes::Sizes;

pub(crate) struct Flow {
    pub control: Arc<FlowControl>,
    watchers: Arc<Watchers>,
    /// What lists weighed when they were last answered.
    pub sizes: Sizes,
    /// Requests that wait and that run: of writes, and of reads.
    waiting: Arc<Counts>,
    running: Arc<Counts>,
}

type Counts = [AtomicI64; 2];

/// Held while a request runs.
pub(crate) struct Passing {
    _seat: Option<Admitted>,
    _counted: Counted,
}

struct Counted(Arc<Counts>, usize);

impl Counted {
    fn up(of: &Arc<Counts>, kind: usize) -> Self {
        of[kind].fetch_add(1, Ordering::Relaxed);
        Self(of.clone(), kind)
    }
}
impl Drop for Counted {
    fn drop(&mut self) {
        self.0[self.1].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Flow {
    /// `seats`: how many requests of one seat run at once.
    pub fn new(registry: &Registry, seats: u64) -> Self {
        Self { control: FlowControl::new(seats, objects::stored(registry)), watchers: Arc::default(), sizes: Sizes::default(), waiting: Default::default(), running: Default::default() }
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
                let _waits = Counted::up(&self.waiting, kind);
                Some(self.control.admit(class, user, asked.word, asked.ask(parts), parts.uri.path(), self.work(class, asked)).await?)
            }
            None => None,
        };
        Ok(Passing { _seat: seat, _counted: Counted::up(&self.running, kind) })
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
            _ => Work::write(self.watchers.interested(target, verb), class.widest()),
        }
    }

    /// Counts a watch among those that writes are paid for. Those that a field narrows to a node's pods are not.
    pub fn watching(&self, asked: &Asked) -> Option<Watching> {
        let target = asked.target()?;
        let narrow = &*target.resource.resource == "pods" && selector(asked).is_some_and(|s| s.required("spec.nodeName").is_some_and(|n| !n.is_empty()));
        (!narrow).then(|| self.watchers.begin(target))
    }

    pub fn inflight(&self) -> [(&'static str, i64, i64); 2] {
        let of = |i: usize| (self.running[i].load(Ordering::Relaxed), self.waiting[i].load(Ordering::Relaxed));
        [("mutating", of(0).0, of(0).1), ("readOnly", of(1).0, of(1).1)]
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
