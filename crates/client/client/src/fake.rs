//! An API in memory, for tests of what talks to a [`Client`](crate::Client).
//!
//! Generic create, read, update, patch, delete and watch over JSON with upstream's metadata rules (uid, generation,
//! resourceVersion, finalizers, status apart from spec, grace of pods that have a node). No defaulting, admission,
//! validation or authorisation.

mod objects;
mod patch;

use crate::{Answer, Call, Client, Transport, Verb, WatchEvent, WatchKind};
use bytes::Bytes;
use futures::StreamExt;
use objects::{Change, Objects};
use parking_lot::Mutex;
use skiff_json::Value;
use skiff_meta::{FieldSelector, GroupVersionKind, LabelSelector, Revision, Status};
use skiff_request::ListAnswer;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// Called before each call; an error is the answer instead.
type Hook = Box<dyn FnMut(&Call) -> Result<(), Status> + Send>;

/// A cheap handle on one API.
#[derive(Clone)]
pub struct Fake {
    state: Arc<State>,
}

struct State {
    objects: Mutex<Objects>,
    changes: broadcast::Sender<Arc<Change>>,
    hook: Mutex<Option<Hook>>,
    calls: Mutex<Vec<(Verb, String)>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    pub fn new() -> Self {
        let state = State { objects: Mutex::default(), changes: broadcast::Sender::new(65_536), hook: Mutex::new(None), calls: Mutex::default() };
        Self { state: Arc::new(state) }
    }
    pub fn client(&self) -> Client {
        Client::new(Arc::new(self.clone()), "test")
    }
    /// Lets a test fail or watch calls.
    pub fn on_call(&self, hook: impl FnMut(&Call) -> Result<(), Status> + Send + 'static) {
        *self.state.hook.lock() = Some(Box::new(hook));
    }
    /// Every write so far: verb and path.
    pub fn writes(&self) -> Vec<(Verb, String)> {
        self.state.calls.lock().iter().filter(|(v, _)| v.writes()).cloned().collect()
    }
    /// The time that creation and deletion are stamped with, RFC 3339.
    pub fn set_time(&self, now: &str) {
        self.state.objects.lock().now = now.into();
    }

    fn write(&self, call: &Call) -> Result<Answer, Status> {
        let mut objects = self.state.objects.lock();
        let (code, change) = match call.verb {
            Verb::Create => (201, objects.create(call)?),
            Verb::Update => (200, objects.update(call)?),
            Verb::Patch => (200, objects.patch(call)?),
            _ => (200, objects.delete(call)?),
        };
        let answer = Answer::Object { code, kind: kind_of(&change.object), bytes: change.bytes.clone(), warnings: vec![] };
        if change.kind != WatchKind::Bookmark {
            // Nobody may be watching.
            let _ = self.state.changes.send(Arc::new(change));
        }
        Ok(answer)
    }
    fn list(&self, call: &Call) -> Result<Answer, Status> {
        let wanted = Wanted::of(call)?;
        let objects = self.state.objects.lock();
        let items: Vec<&Value> = objects.select(&call.target).filter(|o| wanted.matches(o)).collect();
        let kind = items.first().map_or_else(|| GroupVersionKind::new("", "v1", ""), |o| kind_of(o));
        let items = items.iter().map(|o| Bytes::from(o.to_string())).collect();
        Ok(Answer::List(ListAnswer { kind, items, revision: Revision(objects.revision), continue_token: String::new(), remaining: None, warnings: Vec::new() }))
    }
    fn watch(&self, call: &Call) -> Result<Answer, Status> {
        let wanted = Wanted::of(call)?;
        let target = call.target.clone();
        let objects = self.state.objects.lock();
        let after = call.query.get("resourceVersion").and_then(|r| r.parse::<u64>().ok()).filter(|r| *r > 0);
        let now = objects.revision;
        let mut first: Vec<WatchEvent> = Vec::new();
        if after.is_none() {
            let added = objects.select(&target).filter(|o| wanted.matches(o));
            first.extend(added.map(|o| event(WatchKind::Added, Bytes::from(o.to_string()), now)));
            if call.query.flag("sendInitialEvents") {
                let mark = skiff_json::json!({"metadata": {"resourceVersion": now.to_string(), "annotations": {"k8s.io/initial-events-end": "true"}}});
                first.push(event(WatchKind::Bookmark, mark.to_string().into(), now));
            }
        }
        let missed: Vec<Arc<Change>> = objects.log.iter().filter(|c| after.is_some_and(|a| c.revision > a)).cloned().collect();
        let later = BroadcastStream::new(self.state.changes.subscribe()).filter_map(|c| async { c.ok() });
        let changes = futures::stream::iter(missed).chain(later).filter_map(move |c| futures::future::ready(c.seen_by(&target, &wanted)));
        Ok(Answer::Watch { kind: GroupVersionKind::new("", "v1", ""), events: futures::stream::iter(first).chain(changes).boxed() })
    }
}

#[async_trait::async_trait]
impl Transport for Fake {
    async fn call(&self, call: Call) -> Result<Answer, Status> {
        if let Some(hook) = self.state.hook.lock().as_mut() {
            hook(&call)?;
        }
        self.state.calls.lock().push((call.verb, call.target.path()));
        match call.verb {
            Verb::List => self.list(&call),
            Verb::Watch => self.watch(&call),
            Verb::Get => {
                let object = self.state.objects.lock().get(&call.target)?.clone();
                Ok(Answer::Object { code: 200, kind: kind_of(&object), bytes: object.to_string().into(), warnings: vec![] })
            }
            _ => self.write(&call),
        }
    }
}

/// The selectors of a list or a watch.
struct Wanted {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self, Status> {
        let labels = LabelSelector::parse(call.query.get("labelSelector").unwrap_or_default());
        let fields = FieldSelector::parse(call.query.get("fieldSelector").unwrap_or_default());
        Ok(Self { labels: labels.map_err(|e| Status::bad_request(e.to_string()))?, fields: fields.map_err(|e| Status::bad_request(e.to_string()))? })
    }
    fn matches(&self, o: &Value) -> bool {
        let field = |path: &str| path.split('.').try_fold(o, |v, part| v.get(part)).and_then(Value::as_str);
        self.labels.matches_with(|k| o["metadata"]["labels"][k].as_str()) && self.fields.matches_with(field)
    }
}

impl Change {
    /// As a watcher sees it: entering a selection is ADDED, leaving it DELETED.
    fn seen_by(&self, target: &crate::Target, wanted: &Wanted) -> Option<WatchEvent> {
        let mine = self.target.resource == target.resource && (target.namespace.is_empty() || target.namespace == self.target.namespace);
        if !mine || (!target.name.is_empty() && target.name != self.target.name) {
            return None;
        }
        let (before, after) = (self.before.as_ref().is_some_and(|o| wanted.matches(o)), wanted.matches(&self.object));
        let kind = match (self.kind, before, after) {
            (WatchKind::Deleted, true, _) | (WatchKind::Modified, true, false) => WatchKind::Deleted,
            (WatchKind::Deleted, false, _) | (_, false, false) => return None,
            (_, false, true) => WatchKind::Added,
            (_, true, true) => WatchKind::Modified,
            (_, true, false) => WatchKind::Deleted,
        };
        Some(event(kind, self.bytes.clone(), self.revision))
    }
}

fn event(kind: WatchKind, object: Bytes, revision: u64) -> WatchEvent {
    WatchEvent { kind, object, revision: Revision(revision), shared: None }
}
fn kind_of(o: &Value) -> GroupVersionKind {
    let api_version = o["apiVersion"].as_str().unwrap_or("v1");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    GroupVersionKind::new(group.to_owned(), version.to_owned(), o["kind"].as_str().unwrap_or_default().to_owned())
}
