//! The field manager: what the registry calls around each write.
use crate::compare::compare;
use crate::last_applied::{self, KUBECTL, LAST_APPLIED};
use crate::updater::{self, Outcome, Scope};
use crate::{Element, FieldSet, Managed, ManagerId, Operation, Shape, WalkError, conflict, managed::Entry, walk};
use skiff_json::{Map, Value};
use skiff_meta::Status;
use std::sync::LazyLock;
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
    folded: bool,
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
        Self { shape, api_version, subresource, ignored, folded: false }
    }
    /// Writes managers with their fields as a text, for [`skiff_meta::unfold`].
    pub fn folded(self, folded: bool) -> Self {
        Self { folded, ..self }
    }
    fn read(&self, list: Option<&Value>, me: Option<&ManagerId>) -> Option<Managed> {
        let mut managed = Managed::read_for(list, me)?;
        for e in managed.0.values_mut() {
            e.set.reconcile(self.shape);
        }
        Some(managed)
    }
    fn list(&self, managed: &Managed) -> Vec<Value> {
        if self.folded { managed.write_folded() } else { managed.write() }
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
        let reset = given.as_ref().is_some_and(|g| {
            matches!(g.as_array().map(Vec::as_slice), Some([e]) if e.as_object().is_some_and(|m| m.is_empty())) || g.as_array().is_some_and(Vec::is_empty)
        });
        let me = self.manager(manager, Operation::Update);
        let mut managed = match (&given, reset) {
            (_, true) => {
                put(new, Vec::new());
                return;
            }
            (Some(g), _) => self.read(Some(g), Some(&me)).or_else(|| self.read(live, Some(&me))).unwrap_or_default(),
            (None, _) => self.read(live, Some(&me)).unwrap_or_default(),
        };
        // An object that nobody's fields were recorded of stays so until it is applied.
        if managed.is_empty() && old.pointer("/metadata/uid").is_some() {
            put(new, Vec::new());
            return;
        }
        if !updater::update(object(old), new, self.scope(), &mut managed, &me, self.api_version, now) {
            put(new, live.and_then(Value::as_array).cloned().unwrap_or_default());
            return;
        }
        managed.cap();
        put(new, self.list(&managed));
    }

    /// A server-side apply of `config` onto `live` (Null: it creates). Returns the new object with its managers, and
    /// whether anything changed.
    pub fn apply(&self, live: &Value, config: &Value, manager: &str, force: bool, now: &str) -> Result<(Value, bool), ApplyError> {
        self.applied(&mut live.clone(), config, manager, force, now)
    }
    /// The same; `live` lacks its managers meanwhile, which spares a copy of it.
    pub fn apply_to(&self, live: &mut Value, config: &Value, manager: &str, force: bool, now: &str) -> Result<Value, ApplyError> {
        self.applied(live, config, manager, force, now).map(|(object, _)| object)
    }
    fn applied(&self, live: &mut Value, config: &Value, manager: &str, force: bool, now: &str) -> Result<(Value, bool), ApplyError> {
        let managers = take(live);
        let applied = self.applied_bare(live, managers.as_ref(), config, manager, force, now);
        if let (Some(managers), Some(meta)) = (managers, live.get_mut("metadata").and_then(Value::as_object_mut)) {
            meta.insert("managedFields", managers);
        }
        applied
    }
    fn applied_bare(&self, live: &Value, managers: Option<&Value>, config: &Value, manager: &str, force: bool, now: &str) -> Result<(Value, bool), ApplyError> {
        if config.pointer("/metadata/managedFields").is_some_and(|v| !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty())) {
            return Err(ApplyError::ManagedFieldsGiven);
        }
        let me = self.manager(manager, Operation::Apply);
        let mut managed = self.read(managers, None).unwrap_or_default();
        self.adopt_unmanaged(live, &mut managed);
        let mut run = |force| updater::apply(object(live), config, self.scope(), &mut managed, &me, self.api_version, force, now);
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
                put(&mut object, self.list(&managed));
                let synced = manager == KUBECTL && last_applied::sync(&mut object, config);
                Ok((object, changed || synced))
            }
        }
    }

    /// Conflicts about fields that the client-side apply before did not set. Those that it did set `kubectl` may take: it is
    /// the same person who goes over from one to the other.
    fn not_last_applied(&self, live: &Value, found: Vec<(ManagerId, Entry, FieldSet)>) -> Vec<(ManagerId, Entry, FieldSet)> {
        let text = live.pointer("/metadata/annotations").and_then(|a| a.get(LAST_APPLIED)).and_then(Value::as_str);
        let last = text.and_then(|t| skiff_json::from_str::<Value>(t).ok()).filter(|v| v.get("apiVersion").and_then(Value::as_str) == Some(self.api_version));
        let Some(last) = last else { return found };
        let Ok(set) = walk::to_set(&last, self.shape, false) else { return found };
        // What has changed since is not of that apply.
        let since = compare(&last, object(live), self.shape, &FieldSet::empty());
        let set = set.difference(&since.modified).difference(&since.added).difference(&since.removed);
        found.into_iter().map(|(id, e, fields)| (id, e, fields.difference(&set))).filter(|(_, _, fields)| !fields.is_empty()).collect()
    }

    /// An object from before fields were tracked: all that it has belongs to `before-first-apply`.
    fn adopt_unmanaged(&self, live: &Value, managed: &mut Managed) {
        if !managed.is_empty() || live.is_null() {
            return;
        }
        let empty = Value::Object(Default::default());
        let me = self.manager("before-first-apply", Operation::Update);
        let time = live.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
        updater::update(&empty, live, self.scope(), managed, &me, self.api_version, time);
    }
}

/// What is absent counts as an object with nothing in it.
fn object(v: &Value) -> &Value {
    static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
    if v.is_null() { &NOTHING } else { v }
}
fn take(v: &mut Value) -> Option<Value> {
    v.get_mut("metadata")?.as_object_mut()?.shift_remove("managedFields")
}
fn put(v: &mut Value, list: Vec<Value>) {
    if let Some(meta) = v.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.shift_remove("managedFields");
        if !list.is_empty() {
            meta.insert("managedFields", Value::Array(list));
        }
    }
}

#[cfg(test)]
mod tests;
