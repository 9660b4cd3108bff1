//! The verbs.
use crate::{Answer, Call, Object, PatchType, Target, Transport, Verb, WatchStream, decode, resource_of};
use bytes::Bytes;
use serde::Serialize;
use skiff_meta::{GroupVersionResource, Revision, Status};
use std::sync::Arc;

/// A cheap handle; clones share the transport.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    user_agent: Arc<str>,
}

/// What narrows a list or a watch. Empty strings mean "not given".
#[derive(Clone, Debug, Default)]
pub struct ListParams {
    pub labels: String,
    pub fields: String,
    pub limit: u64,
    pub continue_token: String,
    /// `resourceVersion`, as given by an earlier answer.
    pub revision: Option<Revision>,
}

/// A page of a list, as bytes.
pub struct Page {
    pub items: Vec<Bytes>,
    pub revision: Revision,
    pub continue_token: String,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    /// `Foreground`, `Background` or `Orphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditions: Option<Preconditions>,
}
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preconditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// Only the object with this uid.
    pub fn uid(mut self, uid: &str) -> Self {
        self.preconditions.get_or_insert_default().uid = Some(uid.to_owned());
        self
    }
    /// Only the object at this revision.
    pub fn revision(mut self, revision: Revision) -> Self {
        self.preconditions.get_or_insert_default().resource_version = Some(revision.0.to_string());
        self
    }
    pub fn grace(mut self, seconds: i64) -> Self {
        self.grace_period_seconds = Some(seconds);
        self
    }
}

/// A patch and its kind.
pub struct PatchBody {
    pub kind: PatchType,
    pub body: Bytes,
    /// `fieldManager`; needed by apply.
    pub manager: String,
    pub force: bool,
}

impl PatchBody {
    pub fn merge(v: &skiff_json::Value) -> Self {
        Self { kind: PatchType::Merge, body: v.to_string().into(), manager: String::new(), force: false }
    }
    pub fn strategic(v: &skiff_json::Value) -> Self {
        Self { kind: PatchType::Strategic, ..Self::merge(v) }
    }
    pub fn json(v: &skiff_json::Value) -> Self {
        Self { kind: PatchType::Json, ..Self::merge(v) }
    }
    pub fn apply(v: &skiff_json::Value, manager: &str) -> Self {
        Self { kind: PatchType::Apply, manager: manager.into(), force: true, ..Self::merge(v) }
    }
}

impl Client {
    /// `user_agent` names the component; its first part becomes the field manager.
    pub fn new(transport: Arc<dyn Transport>, user_agent: &str) -> Self {
        Self { transport, user_agent: user_agent.into() }
    }
    /// Another component's handle on the same transport.
    pub fn named(&self, user_agent: &str) -> Self {
        Self { transport: self.transport.clone(), user_agent: user_agent.into() }
    }
    pub async fn call(&self, mut call: Call) -> Result<Answer, Status> {
        call.user_agent = self.user_agent.to_string();
        self.transport.call(call).await
    }
    async fn object(&self, call: Call) -> Result<Bytes, Status> {
        let what = call.target.path();
        match self.call(call).await? {
            Answer::Object { bytes, .. } => Ok(bytes),
            Answer::Status(s, _) => Ok(Bytes::from(s.to_json())),
            _ => Err(Status::internal(format!("{what}: the answer is no object"))),
        }
    }

    pub async fn get_bytes(&self, target: Target) -> Result<Bytes, Status> {
        self.object(Call::new(Verb::Get, target)).await
    }
    /// One page; pass the token on for the next.
    pub async fn list_bytes(&self, resource: GroupVersionResource, namespace: &str, p: &ListParams) -> Result<Page, Status> {
        let call = narrowed(Call::new(Verb::List, Target::new(resource, namespace, "")), p);
        let what = call.target.path();
        match self.call(call).await? {
            Answer::List(l) => Ok(Page { items: l.items, revision: l.revision, continue_token: l.continue_token }),
            _ => Err(Status::internal(format!("{what}: the answer is no list"))),
        }
    }
    /// Changes behind `p.revision` (None: the present state first, as ADDED). Asks for bookmarks.
    pub async fn watch_bytes(&self, resource: GroupVersionResource, namespace: &str, p: &ListParams) -> Result<WatchStream, Status> {
        let call = narrowed(Call::new(Verb::Watch, Target::new(resource, namespace, "")), p).query("allowWatchBookmarks", "true");
        let what = call.target.path();
        match self.call(call).await? {
            Answer::Watch { events, .. } => Ok(events),
            _ => Err(Status::internal(format!("{what}: the answer is no watch"))),
        }
    }
    pub async fn create_bytes(&self, target: Target, body: impl Into<Bytes>) -> Result<Bytes, Status> {
        self.object(Call::new(Verb::Create, target).body(body)).await
    }
    /// Compare and swap on the body's resourceVersion (empty: unconditional, where the kind allows it).
    pub async fn update_bytes(&self, target: Target, body: impl Into<Bytes>) -> Result<Bytes, Status> {
        self.object(Call::new(Verb::Update, target).body(body)).await
    }
    pub async fn patch_bytes(&self, target: Target, patch: PatchBody) -> Result<Bytes, Status> {
        let mut call = Call::new(Verb::Patch, target).body(patch.body);
        call.content_type = patch.kind.media_type().into();
        if !patch.manager.is_empty() {
            call = call.query("fieldManager", patch.manager);
        }
        if patch.force {
            call = call.query("force", "true");
        }
        self.object(call).await
    }
    pub async fn delete_target(&self, target: Target, options: &DeleteOptions) -> Result<Bytes, Status> {
        let body = skiff_json::to_vec(options).map_err(Status::internal)?;
        self.object(Call::new(Verb::Delete, target).body(body)).await
    }

    pub async fn get<K: Object>(&self, namespace: &str, name: &str) -> Result<K, Status> {
        decode(&self.get_bytes(target::<K>(namespace, name)).await?)
    }
    /// None when it is not there.
    pub async fn find<K: Object>(&self, namespace: &str, name: &str) -> Result<Option<K>, Status> {
        match self.get(namespace, name).await {
            Ok(k) => Ok(Some(k)),
            Err(s) if s.is(skiff_meta::Reason::NotFound) => Ok(None),
            Err(s) => Err(s),
        }
    }
    /// All pages.
    pub async fn list<K: Object>(&self, namespace: &str, p: &ListParams) -> Result<Vec<K>, Status> {
        let (mut p, mut all) = (p.clone(), Vec::new());
        loop {
            let page = self.list_bytes(resource_of::<K>(), namespace, &p).await?;
            for item in &page.items {
                all.push(decode(item)?);
            }
            if page.continue_token.is_empty() {
                return Ok(all);
            }
            p.continue_token = page.continue_token;
        }
    }
    pub async fn create<K: Object>(&self, object: &K) -> Result<K, Status> {
        let ns = object.metadata().namespace.clone().unwrap_or_default();
        decode(&self.create_bytes(target::<K>(&ns, ""), encode(object)?).await?)
    }
    pub async fn update<K: Object>(&self, object: &K) -> Result<K, Status> {
        decode(&self.update_bytes(target_of(object), encode(object)?).await?)
    }
    pub async fn update_status<K: Object>(&self, object: &K) -> Result<K, Status> {
        decode(&self.update_bytes(target_of(object).sub("status"), encode(object)?).await?)
    }
    pub async fn patch<K: Object>(&self, namespace: &str, name: &str, patch: PatchBody) -> Result<K, Status> {
        decode(&self.patch_bytes(target::<K>(namespace, name), patch).await?)
    }
    pub async fn patch_status<K: Object>(&self, namespace: &str, name: &str, patch: PatchBody) -> Result<K, Status> {
        decode(&self.patch_bytes(target::<K>(namespace, name).sub("status"), patch).await?)
    }
    /// Deleting what is gone already is a success.
    pub async fn delete<K: Object>(&self, namespace: &str, name: &str, options: &DeleteOptions) -> Result<(), Status> {
        match self.delete_target(target::<K>(namespace, name), options).await {
            Err(s) if !s.is(skiff_meta::Reason::NotFound) => Err(s),
            _ => Ok(()),
        }
    }
}

fn narrowed(mut call: Call, p: &ListParams) -> Call {
    for (key, value) in [("labelSelector", &p.labels), ("fieldSelector", &p.fields), ("continue", &p.continue_token)] {
        if !value.is_empty() {
            call = call.query(key, value.clone());
        }
    }
    if p.limit > 0 {
        call = call.query("limit", p.limit.to_string());
    }
    match p.revision {
        Some(r) if p.continue_token.is_empty() => call.query("resourceVersion", r.to_string()),
        _ => call,
    }
}

fn target<K: Object>(namespace: &str, name: &str) -> Target {
    Target::new(resource_of::<K>(), namespace, name)
}
fn target_of<K: Object>(o: &K) -> Target {
    let m = o.metadata();
    target::<K>(m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default())
}
fn encode<K: Object>(o: &K) -> Result<Bytes, Status> {
    skiff_json::to_vec(o).map(Bytes::from).map_err(|e| Status::internal(format!("encode {}: {e}", K::KIND)))
}
