//! An object as an informer keeps it.
use bytes::Bytes;
use skiff_client::{Object, decode};
use skiff_meta::{Head, LabelSelector, Revision, Status, Uid};
use std::sync::Arc;

/// `namespace/name`, or the bare name of what is not in a namespace: client-go's key.
pub fn key_of(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}
/// Namespace (empty when there is none) and name.
pub fn split_key(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// An owner reference, as far as look-ups need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: Uid,
    pub controller: bool,
}

/// One version of one object: canonical JSON and the facts that look-ups ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub key: Arc<str>,
    pub bytes: Bytes,
    pub uid: Uid,
    pub revision: Revision,
    /// Sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    pub owners: Box<[Owner]>,
    pub deleting: bool,
}

impl Row {
    /// Reads the metadata of canonical JSON.
    pub fn of(bytes: Bytes) -> Result<Row, Status> {
        let h = Head::of(&bytes).map_err(|e| Status::internal(format!("read the metadata of an object: {e}")))?;
        Ok(Row {
            key: key_of(&h.namespace, &h.name).into(),
            uid: h.uid.as_str().into(),
            revision: h.resource_version.parse().unwrap_or_default(),
            labels: h.labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            owners: h.owner_references.iter().map(|o| Owner { uid: o.uid.as_str().into(), controller: o.controller == Some(true) }).collect(),
            deleting: h.deletion_timestamp.is_some(),
            bytes,
        })
    }
    pub fn namespace(&self) -> &str {
        split_key(&self.key).0
    }
    pub fn name(&self) -> &str {
        split_key(&self.key).1
    }
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }
    pub fn selected_by(&self, selector: &LabelSelector) -> bool {
        selector.matches_with(|k| self.label(k))
    }
    /// The uid of the owner that controls it.
    pub fn controller(&self) -> Option<&Uid> {
        self.owners.iter().find(|o| o.controller).map(|o| &o.uid)
    }
    /// Whether the text is anywhere in the object: the quick answer before a look at where.
    pub fn mentions(&self, text: &str) -> bool {
        memchr::memmem::find(&self.bytes, text.as_bytes()).is_some()
    }
    /// A typed view.
    pub fn decode<K: Object>(&self) -> Result<K, Status> {
        decode(&self.bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// What a subscriber is told. `old` is None only for Added, `new` only for Deleted.
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: ChangeKind,
    pub old: Option<Arc<Row>>,
    pub new: Option<Arc<Row>>,
    newest: Arc<Row>,
}

impl Change {
    pub(crate) fn between(old: Option<Arc<Row>>, new: Option<Arc<Row>>) -> Option<Change> {
        let kind = match (&old, &new) {
            (None, _) => ChangeKind::Added,
            (Some(_), Some(_)) => ChangeKind::Modified,
            (Some(_), None) => ChangeKind::Deleted,
        };
        let newest = new.clone().or_else(|| old.clone())?;
        Some(Change { kind, old, new, newest })
    }
    /// The newest version there is: of a deletion the last.
    pub fn row(&self) -> &Row {
        &self.newest
    }
    pub fn key(&self) -> &str {
        &self.row().key
    }
}
