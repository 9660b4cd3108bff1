//! What a row of a custom resource has beside the others.
//!
//! Served versions of a custom resource may differ in subresources, columns and schema, so the row carries one
//! [`Resource`] for each of them. Objects are worked on in the version of the request and converted when they are
//! stored, as upstream does it; built-in kinds are worked on in their stored version.
use super::{Converted, Resource, Str};
use skiff_json::Value;
use skiff_meta::{GroupVersion, Revision, Status};
use std::sync::Arc;
use tokio::sync::watch;

/// Converts objects between versions by asking somebody; without one, versions differ in `apiVersion` only.
#[async_trait::async_trait]
pub trait Converter: Send + Sync {
    /// All of `objects`, in their order, as `to`; the error is the client's.
    async fn convert(&self, objects: Vec<Value>, to: &GroupVersion) -> Result<Vec<Value>, Status>;
}

#[derive(Clone)]
pub struct Custom {
    /// What is stored up to here may have been written under another schema, and is read again.
    pub since: Revision,
    pub converter: Option<Arc<dyn Converter>>,
    /// What the converter made already, of all versions.
    pub converted: Arc<Converted>,
    /// Its definition is being deleted: nothing is created any more.
    pub terminating: bool,
    /// Turns true when the row has been replaced: watches end, so that clients come back to the new one.
    pub retired: watch::Receiver<bool>,
    /// What clients of a deprecated version are told.
    pub warning: Option<Str>,
    pub list_kind: Str,
    /// A row for each served version.
    pub versions: Vec<(Str, Arc<Resource>)>,
}

impl Resource {
    /// The row as `version` has it.
    pub fn at(self: &Arc<Self>, version: &str) -> Arc<Resource> {
        let own = self.custom.as_ref().and_then(|c| c.versions.iter().find(|(v, _)| v == version));
        own.map_or_else(|| self.clone(), |(_, r)| r.clone())
    }
    /// The version that objects are admitted and validated in, when a request speaks `version`.
    pub fn working(&self, version: &str) -> GroupVersion {
        match self.custom {
            Some(_) => GroupVersion::new(self.group.clone(), version.to_owned()),
            None => self.stored.clone(),
        }
    }
    /// Whether bytes of `revision` must be read again before they are shown.
    pub fn rereads(&self, revision: Revision) -> bool {
        revision != Revision::ZERO && self.custom.as_ref().is_some_and(|c| revision <= c.since)
    }
    /// What was converted already, where that is somebody else's work.
    pub(crate) fn converted(&self) -> Option<&Converted> {
        self.custom.as_ref().filter(|c| c.converter.is_some()).map(|c| &*c.converted)
    }
    /// The verbs that discovery lists.
    pub fn listed_verbs(&self) -> &'static [&'static str] {
        match &self.custom {
            Some(c) if c.terminating => &["delete", "deletecollection", "get", "list", "watch"],
            // Not in the alphabet's order, as upstream has it.
            Some(_) => &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
            _ => self.verbs,
        }
    }
    /// The kind of lists.
    pub fn list_kind(&self) -> Str {
        self.custom.as_ref().map_or_else(|| format!("{}List", self.kind).into(), |c| c.list_kind.clone())
    }
}
