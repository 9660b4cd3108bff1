//! The objects, and what a write does to their metadata.
use super::patch;
use crate::{Call, PatchType, Target, WatchKind};
use bytes::Bytes;
use skiff_json::{Value, json};
use skiff_meta::Status;
use std::{collections::BTreeMap, sync::Arc};

/// A write as watchers and the writer see it; a bookmark when nothing changed.
pub(super) struct Change {
    pub kind: WatchKind,
    pub target: Target,
    pub before: Option<Value>,
    pub object: Value,
    pub bytes: Bytes,
    pub revision: u64,
}

fn kind_of(object: &Value) -> Option<&'static skiff_schema::Type> {
    let version = object["apiVersion"].as_str()?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    skiff_schema::by_gvk(group, version, object["kind"].as_str()?)
}

pub(super) struct Objects {
    all: BTreeMap<(String, String, String), Value>,
    pub log: Vec<Arc<Change>>,
    pub revision: u64,
    pub now: String,
}

impl Default for Objects {
    fn default() -> Self {
        Self { all: BTreeMap::new(), log: Vec::new(), revision: 1, now: "2026-01-01T00:00:00Z".into() }
    }
}

fn key(t: &Target) -> (String, String, String) {
    (t.group_resource().to_string(), t.namespace.clone(), t.name.clone())
}
fn read(body: &[u8]) -> Result<Value, Status> {
    skiff_json::from_slice(body).map_err(|e| Status::bad_request(e.to_string()))
}

impl Objects {
    pub fn get(&self, t: &Target) -> Result<&Value, Status> {
        self.all.get(&key(t)).ok_or_else(|| Status::not_found(&t.group_resource(), &t.name))
    }
    /// All of the target's resource, in its namespace if it names one.
    pub fn select<'a>(&'a self, t: &'a Target) -> impl Iterator<Item = &'a Value> {
        let resource = t.group_resource().to_string();
        self.all.iter().filter(move |((r, ns, _), _)| *r == resource && (t.namespace.is_empty() || t.namespace == *ns)).map(|(_, v)| v)
    }
    pub fn create(&mut self, call: &Call) -> Result<Change, Status> {
        let mut object = read(&call.body)?;
        let mut target = call.target.clone();
        if call.target.subresource == "eviction" {
            return self.delete(call);
        }
        let n = self.revision + 1;
        let meta = &mut object["metadata"];
        if meta["name"].as_str().unwrap_or_default().is_empty() {
            let prefix = meta["generateName"].as_str().unwrap_or_default();
            meta["name"] = format!("{prefix}{n:05}").into();
        }
        target.name = meta["name"].as_str().unwrap_or_default().into();
        if self.all.contains_key(&key(&target)) {
            return Err(Status::already_exists(&target.group_resource(), &target.name));
        }
        if !target.namespace.is_empty() {
            meta["namespace"] = target.namespace.clone().into();
        }
        meta["uid"] = format!("uid-{n}").into();
        meta["creationTimestamp"] = self.now.clone().into();
        meta["generation"] = 1.into();
        Ok(self.put(WatchKind::Added, target, None, object))
    }
    pub fn update(&mut self, call: &Call) -> Result<Change, Status> {
        let new = read(&call.body)?;
        self.change(&call.target, new)
    }
    pub fn patch(&mut self, call: &Call) -> Result<Change, Status> {
        let body = read(&call.body)?;
        let old = match self.get(&call.target) {
            Ok(old) => old.clone(),
            Err(_) if call.content_type == PatchType::Apply.media_type() => return self.create(call),
            Err(e) => return Err(e),
        };
        let mut new = old;
        if call.content_type == PatchType::Json.media_type() {
            patch::json(&mut new, &body)?;
        } else if let Some(ty) = kind_of(&new).filter(|_| call.content_type == PatchType::Strategic.media_type()) {
            new = skiff_patch::strategic_patch(&new, &body, ty).map_err(|e| Status::bad_request(e.to_string()))?;
        } else {
            patch::merge(&mut new, &body);
        }
        self.change(&call.target, new)
    }
    fn change(&mut self, target: &Target, mut new: Value) -> Result<Change, Status> {
        let old = self.get(target)?.clone();
        let group = target.group_resource();
        let stale = |field: &str| new["metadata"][field].as_str().is_some_and(|v| !v.is_empty() && Some(v) != old["metadata"][field].as_str());
        if stale("resourceVersion") || stale("uid") {
            return Err(Status::conflict(&group, &target.name, "the object has been modified; please apply your changes to the latest version and try again"));
        }
        match target.subresource.as_str() {
            "status" => {
                let (status, annotations) = (new["status"].take(), new["metadata"]["annotations"].take());
                new = old.clone();
                new["status"] = status;
                if !annotations.is_null() {
                    new["metadata"]["annotations"] = annotations;
                }
            }
            "scale" => {
                let replicas = new["spec"]["replicas"].take();
                new = old.clone();
                new["spec"]["replicas"] = replicas;
            }
            _ if !old["status"].is_null() => new["status"] = old["status"].clone(),
            _ => {}
        }
        for field in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "resourceVersion", "namespace", "name"] {
            match &old["metadata"][field] {
                Value::Null => {}
                kept => new["metadata"][field] = kept.clone(),
            }
        }
        if old["spec"] != new["spec"] {
            new["metadata"]["generation"] = (old["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
        }
        if old == new {
            return Ok(Change {
                kind: WatchKind::Bookmark,
                target: target.clone(),
                before: None,
                bytes: old.to_string().into(),
                object: old,
                revision: self.revision,
            });
        }
        let finalizers = new["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        if new["metadata"]["deletionTimestamp"].is_string() && finalizers == 0 && grace(&new) == 0 {
            return Ok(self.remove(target, old, new));
        }
        Ok(self.put(WatchKind::Modified, target.clone(), Some(old), new))
    }
    pub fn delete(&mut self, call: &Call) -> Result<Change, Status> {
        let target = Target { subresource: String::new(), ..call.target.clone() };
        let old = self.get(&target)?.clone();
        let mut options = if call.body.is_empty() { Value::Null } else { read(&call.body)? };
        if call.target.subresource == "eviction" {
            options = options["deleteOptions"].take();
        }
        if options["preconditions"]["uid"].as_str().is_some_and(|u| Some(u) != old["metadata"]["uid"].as_str()) {
            return Err(Status::conflict(&target.group_resource(), &target.name, "Precondition failed: UID in precondition"));
        }
        let on_node = target.resource.resource == "pods" && old["spec"]["nodeName"].is_string();
        let over = matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let period =
            if on_node && !over { options["gracePeriodSeconds"].as_i64().or(old["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30) } else { 0 };
        let mut new = old.clone();
        let held = old["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        if !held && period == 0 {
            return Ok(self.remove(&target, old.clone(), old));
        }
        if new["metadata"]["deletionTimestamp"].is_null() {
            new["metadata"]["deletionTimestamp"] = self.now.clone().into();
        }
        new["metadata"]["deletionGracePeriodSeconds"] = json!(period);
        Ok(self.put(WatchKind::Modified, target, Some(old), new))
    }
    fn remove(&mut self, target: &Target, before: Value, last: Value) -> Change {
        self.all.remove(&key(target));
        self.record(WatchKind::Deleted, target.clone(), Some(before), last)
    }
    fn put(&mut self, kind: WatchKind, target: Target, before: Option<Value>, object: Value) -> Change {
        let target = Target { subresource: String::new(), ..target };
        let change = self.record(kind, target.clone(), before, object);
        self.all.insert(key(&target), change.object.clone());
        change
    }
    fn record(&mut self, kind: WatchKind, target: Target, before: Option<Value>, mut object: Value) -> Change {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let make = || Change {
            kind,
            target: target.clone(),
            before: before.clone(),
            bytes: object.to_string().into(),
            object: object.clone(),
            revision: self.revision,
        };
        let change = make();
        let logged = Arc::new(make());
        self.log.push(logged);
        change
    }
}

/// A pod on a node that is not over waits for its kubelet.
fn grace(o: &Value) -> i64 {
    if o["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0 { 1 } else { 0 }
}
