//! An object as the store holds it: bytes with the revision inside, and an index row.
use bytes::Bytes;
use skiff_meta::{Revision, Uid};
use std::sync::Arc;

/// Canonical JSON whose `metadata.resourceVersion` is the empty string: `at` is the offset between its quotes, where
/// the engine writes the decimal revision at commit.
#[derive(Clone, Debug)]
pub struct Body {
    pub bytes: Bytes,
    pub at: usize,
}

impl Body {
    /// The bytes with `revision` written in. Never fails: `at` past the end appends.
    pub fn stamped(&self, revision: Revision) -> Bytes {
        let at = self.at.min(self.bytes.len());
        let digits = revision.to_string();
        let mut out = Vec::with_capacity(self.bytes.len() + digits.len());
        out.extend_from_slice(&self.bytes[..at]);
        out.extend_from_slice(digits.as_bytes());
        out.extend_from_slice(&self.bytes[at..]);
        Bytes::from(out)
    }
}

/// The few facts of an object that lists, watches and garbage collection ask for, so that bytes need no decoding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub uid: Uid,
    /// Sorted by key.
    pub labels: Box<[(Arc<str>, Arc<str>)]>,
    /// The fields that selectors may name beside name and namespace: `spec.nodeName` → value.
    pub fields: Box<[(&'static str, Arc<str>)]>,
    /// The uids of `metadata.ownerReferences`.
    pub owners: Box<[Uid]>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
}

impl Row {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }
    pub fn field(&self, path: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| *k == path).map(|(_, v)| &**v)
    }
}

/// Makes the row of an object; the registry gives it, since it knows which fields a kind selects by.
pub trait Indexer: Send + Sync {
    fn row(&self, key: &str, bytes: &[u8]) -> Row;
}

/// One version of one object. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `<resource>[.<group>]/<namespace>/<name>`, or `<resource>[.<group>]//<name>` for what is not in a namespace.
    pub key: Arc<str>,
    /// Canonical JSON, `resourceVersion` inside.
    pub bytes: Bytes,
    /// The revision that wrote this version.
    pub revision: Revision,
    /// Offset of the revision's first digit in `bytes`.
    pub at: usize,
    pub row: Arc<Row>,
}

impl Entry {
    /// The same state with another revision: what a deletion's event carries.
    pub fn restamped(&self, revision: Revision) -> Bytes {
        let digits = self.revision.to_string().len();
        let mut out = Vec::with_capacity(self.bytes.len() + 4);
        out.extend_from_slice(&self.bytes[..self.at]);
        out.extend_from_slice(revision.to_string().as_bytes());
        out.extend_from_slice(&self.bytes[self.at + digits..]);
        Bytes::from(out)
    }
    /// The namespace part of the key, empty when it has none.
    pub fn namespace(&self) -> &str {
        self.key.split('/').nth(1).unwrap_or_default()
    }
    pub fn name(&self) -> &str {
        self.key.splitn(3, '/').nth(2).unwrap_or_default()
    }
}
