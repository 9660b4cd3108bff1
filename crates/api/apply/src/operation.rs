//! The field manager: what the registry calls around each write.
use crate::updater::{self, Outcome, Scope};
use crate::compare::compare;
use crate::last_applied::{self, KUBECTL, LAST_APPLIED};
use crate::{Element, FieldSet, Managed, ManagerId, Operation, Shape, WalkError, conflict, managed::Entry, walk};
use serde_json::{Map, Value};
use skiff_meta::Status;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum ApplyError {
    /// 409 with a cause a field.
    #[error("{0}")]
    Conflict(Status),
    /// The configuration has `metadata.managedFields` (400).
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsGiven,
    /// The configuration does not fit the schema (500 upstream).
    #[error("failed to create typed patch object: {0}")]
    Walk(#[from] WalkError),
}

/// Tracks fields for one kind at one endpoint.
pub struct Tracker<'a> {
    shape: Shape<'a>,
    /// `apps/v1`.
    api_version: &'a str,
    /// Empty for the object itself.
    subresource: &'a str,
    ignored: FieldSet,
}

/// Metadata that the server sets: nobody owns it.
const SERVER_SET: [&str; 8] = ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];

impl<'a> Tracker<'a> {
    /// `reset` are the fields that this endpoint does not write (`["status"]`, or `["spec", "metadata.labels"]` of a status).
    pub fn new(shape: Shape<'a>, api_version: &'a str, subresource: &'a str, reset: &[&str]) -> Self {
        let mut ignored = FieldSet::default();
        for name in ["apiVersion", "kind"].iter().chain(reset) {
            let path: Vec<Element> = name.split('.').map(Element::field).collect();
            ignored.insert(&path);
        }
        for name in SERVER_SET {
            ignored.insert(&[Element::field("metadata"), Element::field(name)]);
        }
        Self { shape, api_version, subresource, ignored }
    }
    fn manager(&self, name: &str, operation: Operation) -> ManagerId {
        let api_version = if operation == Operation::Apply { String::new() } else { self.api_version.to_owned() };
        ManagerId { name: name.to_owned(), operation, api_version, subresource: self.subresource.to_owned() }
    }
    fn scope(&self) -> Scope<'_> {
        Scope { shape: self.shape, ignored: &self.ignored }
    }

    /// A create, update or patch: sets `metadata.managedFields` of `new`. `old` is the live object (at a create the
    /// empty one of its type).
    /// A client may clear or replace the list by sending its own: absent keeps the live one, an empty one resets it.
    pub fn update(&self, old: &Value, new: &mut Value, manager: &str, now: &str) {
        let given = take(new);
        let live = old.pointer("/metadata/managedFields");
        let reset = given.as_ref().is_some_and(|g| matches!(g.as_array().map(Vec::as_slice), Some([e]) if e.as_object().is_some_and(|m| m.is_empty())) || g.as_array().is_some_and(Vec::is_empty));
        let mut managed = match (&given, reset) {
            (_, true) => {
                put(new, Vec::new());
                return;
            }
            (Some(g), _) => Managed::read(Some(g)).or_else(|| Managed::read(live)).unwrap_or_default(),
            (None, _) => Managed::read(live).unwrap_or_default(),
        };
        // An object that nobody's fields were recorded of stays so until it is applied.
        if managed.0.is_empty() && old.pointer("/metadata/uid").is_some() {
            put(new, Vec::new());
            return;
        }
        self.bring_up(&mut managed);
        let stripped = without_managed(old);
        updater::update(&stripped, new, self.scope(), &mut managed, &self.manager(manager, Operation::Update), self.api_version, now);
        managed.cap();
        put(new, managed.write());
    }

    /// A server-side apply of `config` onto `live` (Null: it creates). Returns the new object with its managers, and
    /// whether anything changed.
    pub fn apply(&self, live: &Value, config: &Value, manager: &str, force: bool, now: &str) -> Result<(Value, bool), ApplyError> {
        if config.pointer("/metadata/managedFields").is_some_and(|v| !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty())) {
            return Err(ApplyError::ManagedFieldsGiven);
        }
        let mut managed = Managed::read(live.pointer("/metadata/managedFields")).unwrap_or_default();
        self.bring_up(&mut managed);
        self.adopt_unmanaged(live, &mut managed);
        let me = self.manager(manager, Operation::Apply);
        let mut run = |force| updater::apply(&without_managed(live), config, self.scope(), &mut managed, &me, self.api_version, force, now);
        let outcome = match run(force)? {
            Outcome::Conflicts(found) if manager == KUBECTL => match self.not_last_applied(live, found) {
                left if left.is_empty() => run(true)?,
                left => Outcome::Conflicts(left),
            },
            other => other,
        };
        match outcome {
            Outcome::Conflicts(found) => Err(ApplyError::Conflict(conflict::status(&conflict::conflicts_of(&found)))),
            Outcome::Merged { mut object, changed } => {
                managed.cap();
                put(&mut object, managed.write());
                let synced = manager == KUBECTL && last_applied::sync(&mut object, config);
                Ok((object, changed || synced))
            }
        }
    }

    /// Conflicts about fields that the client-side apply before did not set. Those that it did set `kubectl` may take: it is
    /// the same person who goes over from one to the other.
    fn not_last_applied(&self, live: &Value, found: Vec<(ManagerId, Entry, FieldSet)>) -> Vec<(ManagerId, Entry, FieldSet)> {
        let text = live.pointer("/metadata/annotations").and_then(|a| a.get(LAST_APPLIED)).and_then(Value::as_str);
        let last = text.and_then(|t| serde_json::from_str::<Value>(t).ok()).filter(|v| v.get("apiVersion").and_then(Value::as_str) == Some(self.api_version));
        let Some(last) = last else { return found };
        let Ok(set) = walk::to_set(&last, self.shape, false) else { return found };
        // What has changed since is not of that apply.
        let since = compare(&last, &without_managed(live), self.shape);
        let set = set.difference(&since.modified).difference(&since.added).difference(&since.removed);
        found.into_iter().map(|(id, e, fields)| (id, e, fields.difference(&set))).filter(|(_, _, fields)| !fields.is_empty()).collect()
    }

    /// An object from before fields were tracked: all that it has belongs to `before-first-apply`.
    fn adopt_unmanaged(&self, live: &Value, managed: &mut Managed) {
        if !managed.0.is_empty() || live.is_null() {
            return;
        }
        let empty = Value::Object(Default::default());
        let me = self.manager("before-first-apply", Operation::Update);
        let time = live.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
        updater::update(&empty, &without_managed(live), self.scope(), managed, &me, self.api_version, time);
    }
    fn bring_up(&self, managed: &mut Managed) {
        for e in managed.0.values_mut() {
            e.set.reconcile(self.shape);
        }
    }
}

fn without_managed(v: &Value) -> Value {
    let Value::Object(all) = v else { return if v.is_null() { Value::Object(Default::default()) } else { v.clone() } };
    let without = |meta: &Map<String, Value>| meta.iter().filter(|(k, _)| *k != "managedFields").map(|(k, v)| (k.clone(), v.clone())).collect();
    let part = |(k, v): (&String, &Value)| match v {
        Value::Object(meta) if k == "metadata" => (k.clone(), Value::Object(without(meta))),
        v => (k.clone(), v.clone()),
    };
    Value::Object(all.iter().map(part).collect())
}
fn take(v: &mut Value) -> Option<Value> {
    v.get_mut("metadata")?.as_object_mut()?.shift_remove("managedFields")
}
fn put(v: &mut Value, list: Vec<Value>) {
    if let Some(meta) = v.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.shift_remove("managedFields");
        if !list.is_empty() {
            meta.insert("managedFields".into(), Value::Array(list));
        }
    }
}

#[cfg(test)]
mod tests;
