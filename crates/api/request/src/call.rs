//! What is asked.
use crate::Notes;
use bytes::Bytes;
use skiff_meta::{GroupResource, GroupVersionResource};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The word that RBAC rules use.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }
    pub fn writes(self) -> bool {
        !matches!(self, Verb::Get | Verb::List | Verb::Watch)
    }
}

/// What a call is about. Empty strings where upstream's RequestInfo has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub resource: GroupVersionResource,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

impl Target {
    pub fn new(resource: GroupVersionResource, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { resource, subresource: String::new(), namespace: namespace.into(), name: name.into() }
    }
    pub fn sub(mut self, subresource: impl Into<String>) -> Self {
        self.subresource = subresource.into();
        self
    }
    pub fn group_resource(&self) -> GroupResource {
        self.resource.group_resource()
    }
    /// `/apis/apps/v1/namespaces/x/deployments/y/scale`.
    pub fn path(&self) -> String {
        let r = &self.resource;
        let mut p = if r.group.is_empty() { format!("/api/{}", r.version) } else { format!("/apis/{}/{}", r.group, r.version) };
        if !self.namespace.is_empty() {
            p += &format!("/namespaces/{}", self.namespace);
        }
        p += &format!("/{}", r.resource);
        for part in [&self.name, &self.subresource] {
            if !part.is_empty() {
                p += &format!("/{part}");
            }
        }
        p
    }
}

/// Query parameters in the order of the URL, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    /// As Go's conversion reads booleans: absent, `false` and `0` are false, all else true.
    pub fn flag(&self, key: &str) -> bool {
        !matches!(self.get(key), None | Some("false") | Some("0"))
    }
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    pub fn media_type(self) -> &'static str {
        match self {
            PatchType::Json => "application/json-patch+json",
            PatchType::Merge => "application/merge-patch+json",
            PatchType::Strategic => "application/strategic-merge-patch+json",
            PatchType::Apply => "application/apply-patch+yaml",
        }
    }
    pub fn of_media_type(media: &str) -> Option<Self> {
        [PatchType::Json, PatchType::Merge, PatchType::Strategic, PatchType::Apply].into_iter().find(|p| p.media_type() == media)
    }
}

/// One request to the API.
#[derive(Clone, Debug)]
pub struct Call {
    pub verb: Verb,
    pub target: Target,
    /// `labelSelector`, `fieldSelector`, `resourceVersion`, `limit`, `dryRun`, `fieldManager`, …
    pub query: Query,
    /// Media type of the body without parameters; `application/json` when in process.
    pub content_type: String,
    /// The object, patch or DeleteOptions; empty when there is none.
    pub body: Bytes,
    /// What a manager is called by when `fieldManager` is absent: the first part of the user agent.
    pub user_agent: String,
    /// Where annotations of its audit record are gathered; None when it is not recorded.
    pub notes: Option<Arc<Notes>>,
}

impl Call {
    pub fn new(verb: Verb, target: Target) -> Self {
        Self { verb, target, query: Query::default(), content_type: "application/json".into(), body: Bytes::new(), user_agent: String::new(), notes: None }
    }
    pub fn query(mut self, key: &str, value: impl Into<String>) -> Self {
        self.query = self.query.with(key, value);
        self
    }
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}
