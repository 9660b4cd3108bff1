//! Events: what happened to an object, for people to read.
//!
//! Written as core/v1 Events in the way upstream's components write them: a repetition counts up instead of making a new
//! object, many alike are combined, and one object cannot flood the cluster. Nobody waits for an event: it goes through a
//! bounded channel, and is dropped when that is full.

mod correlator;

pub use correlator::Correlator;

use crate::Clock;
use correlator::{Told, Write};
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use skiff_client::{Client, Object, PatchBody, Target, resource_of};
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
    to: mpsc::Sender<Told>,
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
        if self.to.try_send(told).is_err() {
            tracing::debug!(target: "events", reason, "event dropped");
        }
    }
}

async fn write_all(client: Client, mut from: mpsc::Receiver<Told>, clock: Arc<dyn Clock>) {
    let mut correlator = Correlator::default();
    while let Some(told) = from.recv().await {
        let Some(write) = correlator.take(&told, clock.now()) else { continue };
        if let Err(e) = put(&client, write).await {
            tracing::debug!(target: "events", reason = told.reason, error = %e, "event not written");
        }
    }
}

async fn put(client: &Client, write: Write) -> Result<(), Status> {
    if let Some(patch) = &write.patch {
        let name = write.event.metadata.name.clone().unwrap_or_default();
        let namespace = write.event.metadata.namespace.clone().unwrap_or_default();
        let target = Target::new(resource_of::<Event>(), namespace, name);
        match client.patch_bytes(target, PatchBody::merge(patch)).await {
            // It has expired meanwhile.
            Err(e) if e.is(Reason::NotFound) => {}
            done => return done.map(drop),
        }
    }
    // The answer is the same object again: nobody decodes it.
    let namespace = write.event.metadata.namespace.as_deref().unwrap_or_default();
    let body = skiff_json::to_vec(&write.event).map_err(|e| Status::internal(format!("encode Event: {e}")))?;
    client.create_bytes(Target::new(resource_of::<Event>(), namespace, ""), body).await.map(drop)
}
