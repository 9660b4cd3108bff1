//! A store in memory with a clock of its own, for the tests of this crate.
#![allow(dead_code)]
use skiff_json::{Value, json};
use skiff_meta::{Head, Uid};
use skiff_store::{Body, Expect, Indexer, Row, Store, Tier, Write, memory::Memory};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub struct World {
    pub store: Arc<dyn Store>,
    /// Seconds since 1970; starts with 2026.
    pub now: Arc<AtomicU64>,
}

struct HeadIndexer;
impl Indexer for HeadIndexer {
    fn row(&self, _key: &str, bytes: &[u8]) -> Row {
        let head = Head::of(bytes).unwrap();
        Row { uid: Uid::from(head.uid.as_str()), deleting: head.deletion_timestamp.is_some(), ..Row::default() }
    }
}

impl World {
    pub fn new() -> Self {
        Self { store: Arc::new(Memory::new(Arc::new(HeadIndexer))), now: Arc::new(AtomicU64::new(1_767_225_600)) }
    }
    pub fn clock(&self) -> Arc<dyn Fn() -> SystemTime + Send + Sync> {
        let now = self.now.clone();
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(now.load(Ordering::Relaxed)))
    }
    async fn commit(&self, resource: &str, namespace: &str, name: &str, body: Option<String>) {
        let key = format!("{resource}/{namespace}/{name}");
        let expect = self.store.get(&key).map_or(Expect::Absent, |e| Expect::At(e.revision));
        let body = body.map(|b| Body { at: b.find("\"resourceVersion\":\"").unwrap() + 19, bytes: b.into() });
        self.store.commit(Write { key: key.into(), expect, body, tier: Tier::Durable }).await.unwrap();
    }
    pub async fn put(&self, resource: &str, namespace: &str, name: &str, mut object: Value) {
        for (field, value) in [("name", name), ("namespace", namespace), ("uid", &format!("uid-{name}")), ("resourceVersion", "")] {
            if object["metadata"][field].is_null() && !(field == "namespace" && value.is_empty()) {
                object["metadata"][field] = value.into();
            }
        }
        self.commit(resource, namespace, name, Some(object.to_string())).await;
    }
    pub async fn delete(&self, resource: &str, namespace: &str, name: &str) {
        self.commit(resource, namespace, name, None).await;
    }
    pub async fn rbac(&self, resource: &str, namespace: &str, name: &str, object: Value) {
        self.put(&format!("{resource}.rbac.authorization.k8s.io"), namespace, name, object).await;
    }
    pub async fn bind(&self, resource: &str, namespace: &str, name: &str, kind: &str, role: &str, subjects: Value) {
        self.rbac(resource, namespace, name, json!({"roleRef": {"kind": kind, "name": role}, "subjects": subjects})).await;
    }
    /// Makes the bootstrap policy.
    pub async fn bootstrap(&self) {
        for (target, object) in skiff_auth::bootstrap::objects() {
            self.rbac(target.resource.resource.as_ref(), &target.namespace, &target.name, object).await;
        }
    }
}
