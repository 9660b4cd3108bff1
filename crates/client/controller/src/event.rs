//! Events: what happened to an object, for people to read.
//!
//! Written as core/v1 Events in the way upstream's components write them: a repetition counts up instead of making a new
//! object, many alike are combined, and one object cannot flood the cluster. Nobody waits for an event: it goes through a
//! bounded channel, and is dropped when that is full.

mod correlator;
mod series;

pub use correlator::Correlator;

use crate::Clock;
use correlator::Told;
use k8s_openapi::api::core::v1::ObjectReference;
use series::{Deed, Series};
use skiff_client::{Client, Object, PatchBody, Target, resource_of};
use skiff_json::Value;
use skiff_meta::{Reason, Status};
use std::sync::Arc;
use tokio::sync::mpsc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// The object that an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Regarding {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    /// A part of it: `spec.containers{web}`.
    pub field_path: String,
}

impl Regarding {
    pub fn of<K: Object>(object: &K) -> Self {
        let m = object.metadata();
        Self {
            api_version: K::API_VERSION.into(),
            kind: K::KIND.into(),
            namespace: m.namespace.clone().unwrap_or_default(),
            name: m.name.clone().unwrap_or_default(),
            uid: m.uid.clone().unwrap_or_default(),
            resource_version: m.resource_version.clone().unwrap_or_default(),
            field_path: String::new(),
        }
    }
    pub fn at(mut self, field_path: impl Into<String>) -> Self {
        self.field_path = field_path.into();
        self
    }
    fn reference(&self) -> ObjectReference {
        let some = |s: &String| Some(s.clone()).filter(|s| !s.is_empty());
        ObjectReference {
            api_version: some(&self.api_version),
            kind: some(&self.kind),
            namespace: some(&self.namespace),
            name: some(&self.name),
            uid: some(&self.uid),
            resource_version: some(&self.resource_version),
            field_path: some(&self.field_path),
        }
    }
}

/// Tells events under one component's name. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    to: mpsc::Sender<Message>,
    component: Arc<str>,
    host: Arc<str>,
}

impl Recorder {
    /// Starts the task that writes; it ends when the last handle is dropped. `host` is the node's name, or empty.
    pub fn new(client: Client, component: &str, host: &str, clock: Arc<dyn Clock>) -> Self {
        let (to, from) = mpsc::channel(1000);
        tokio::spawn(write_all(client, from, clock));
        Self { to, component: component.into(), host: host.into() }
    }
    /// The same channel under another component's name.
    pub fn named(&self, component: &str) -> Self {
        Self { component: component.into(), ..self.clone() }
    }
    pub fn normal(&self, about: &Regarding, reason: &'static str, message: impl Into<String>) {
        self.event(about, EventType::Normal, reason, message);
    }
    pub fn warning(&self, about: &Regarding, reason: &'static str, message: impl Into<String>) {
        self.event(about, EventType::Warning, reason, message);
    }
    pub fn event(&self, about: &Regarding, kind: EventType, reason: &str, message: impl Into<String>) {
        let told =
            Told { component: self.component.clone(), host: self.host.clone(), about: about.clone(), kind, reason: reason.into(), message: message.into() };
        self.send(Message::Told(told), reason);
    }
    /// An event in the form of `events.k8s.io`: `action` is what was done or tried, to `about` and because of `related`.
    pub fn deed(&self, about: &Regarding, related: Option<&Regarding>, kind: EventType, reason: &str, action: &'static str, note: impl Into<String>) {
        let (component, host) = (self.component.clone(), self.host.clone());
        let deed = Deed { component, host, about: about.clone(), related: related.cloned(), kind, reason: reason.into(), action };
        self.send(Message::Deed(deed, note.into()), reason);
    }
    fn send(&self, message: Message, reason: &str) {
        if self.to.try_send(message).is_err() {
            tracing::debug!(target: "events", reason, "event dropped");
        }
    }
}

/// What goes to the task that writes; a deed with its note.
enum Message {
    Told(Told),
    Deed(Deed, String),
}

async fn write_all(client: Client, mut from: mpsc::Receiver<Message>, clock: Arc<dyn Clock>) {
    let (mut correlator, mut series) = (Correlator::default(), Series::default());
    loop {
        // Somebody must look when series end.
        let message = match series.is_empty() {
            true => from.recv().await.map(Some),
            false => tokio::time::timeout(series::FINISH, from.recv()).await.map_or(Some(None), |m| m.map(Some)),
        };
        let Some(message) = message else { return };
        let now = clock.now();
        for write in series.due(now) {
            noted(put(&client, &write.event, write.patch.as_ref()).await, "series");
        }
        match message {
            Some(Message::Told(told)) => {
                if let Some(write) = correlator.take(&told, now) {
                    noted(put(&client, &write.event, write.patch.as_ref()).await, &told.reason);
                }
            }
            Some(Message::Deed(deed, note)) => {
                if let Some(write) = series.take(&deed, &note, now) {
                    noted(put(&client, &write.event, write.patch.as_ref()).await, &deed.reason);
                }
            }
            None => {}
        }
    }
}

/// What an event about an object is called: after it and the time in nanoseconds, or anyhow where that would be no name (client-go's
/// `GenerateEventName`).
fn name(about: &str, nanos: i64) -> String {
    let name = format!("{about}.{nanos:x}");
    if skiff_meta::is_dns1123_subdomain(&name).is_ok() { name } else { uuid::Uuid::new_v4().to_string() }
}

fn noted(written: Result<(), Status>, reason: &str) {
    if let Err(e) = written {
        tracing::debug!(target: "events", reason, error = %e, "event not written");
    }
}

async fn put<K: Object>(client: &Client, event: &K, patch: Option<&Value>) -> Result<(), Status> {
    let (name, namespace) = (event.metadata().name.clone().unwrap_or_default(), event.metadata().namespace.clone().unwrap_or_default());
    if let Some(patch) = patch {
        let target = Target::new(resource_of::<K>(), namespace.clone(), name);
        match client.patch_bytes(target, PatchBody::merge(patch)).await {
            // It has expired meanwhile.
            Err(e) if e.is(Reason::NotFound) => {}
            done => return done.map(drop),
        }
    }
    // The answer is the same object again: nobody decodes it.
    let body = skiff_json::to_vec(event).map_err(|e| Status::internal(format!("encode Event: {e}")))?;
    client.create_bytes(Target::new(resource_of::<K>(), namespace, ""), body).await.map(drop)
}
