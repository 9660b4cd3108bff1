//! A registry over the memory store, and short ways to call it.
#![allow(dead_code, reason = "each test file uses its own part")]
use futures::StreamExt;
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, Status};
use skiff_policy::{Action, Authorizer, Decision};
use skiff_registry::{Options, Registry, RowIndexer, table::Table};
use skiff_request::{Answer, Call, ListAnswer, Service, Target, User, Verb, WatchStream};
use skiff_store::memory::Memory;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

struct Everything;
#[async_trait::async_trait]
impl Authorizer for Everything {
    async fn authorize(&self, user: &User, _: &Action) -> Decision {
        if user.name == "nobody" { Decision::NoOpinion(String::new()) } else { Decision::Allow }
    }
    async fn rules(&self, _: &User, _: &str) -> (Vec<Value>, Vec<Value>) {
        Default::default()
    }
}

pub struct Cluster {
    pub registry: Arc<Registry>,
    user: Arc<User>,
}

/// `pods`, or `apps/v1/deployments`.
pub fn resource(text: &str) -> GroupVersionResource {
    match text.split('/').collect::<Vec<_>>()[..] {
        [r] => GroupVersionResource::new("", "v1", r.to_owned()),
        [g, v, r] => GroupVersionResource::new(g.to_owned(), v.to_owned(), r.to_owned()),
        _ => panic!("{text}"),
    }
}

/// `pods/name/sub` in the namespace `a`; `.` for no name.
pub fn target(r: &str, name: &str, sub: &str) -> Target {
    let resource = resource(r);
    let cluster =
        ["namespaces", "nodes", "persistentvolumes", "customresourcedefinitions", "ipaddresses", "deviceclasses", "apiservices"].contains(&&*resource.resource);
    Target::new(resource, if cluster { "" } else { "a" }, name).sub(sub)
}

impl Cluster {
    pub fn new() -> Self {
        let table = Arc::new(Table::builtin());
        let store = Arc::new(Memory::new(Arc::new(RowIndexer::new(table.clone()))));
        let count = AtomicU32::new(0);
        let options = Options {
            authorizer: Arc::new(Everything),
            admission: vec![],
            now: Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
            random: Arc::new(move || count.fetch_add(1, Ordering::Relaxed)),
            tokens: None,
            services: Default::default(),
        };
        Self { registry: Registry::new(store, table, options), user: Arc::new(User::new("tester", ["system:masters"])) }
    }
    pub async fn call(&self, call: Call) -> Result<Answer, Status> {
        self.registry.serve(self.user.clone(), call).await
    }
    pub async fn call_as(&self, user: &str, call: Call) -> Result<Answer, Status> {
        self.registry.serve(Arc::new(User::new(user, ["system:authenticated"])), call).await
    }
    pub async fn object(&self, call: Call) -> Result<Value, Status> {
        match self.call(call).await? {
            Answer::Object { bytes, .. } => Ok(skiff_json::from_slice(&bytes).unwrap()),
            Answer::Status(s, _) => Ok(skiff_json::from_slice(&s.to_json()).unwrap()),
            _ => panic!("no object"),
        }
    }
    pub async fn create(&self, r: &str, v: Value) -> Result<Value, Status> {
        self.object(Call::new(Verb::Create, target(r, "", "")).body(v.to_string())).await
    }
    pub async fn get(&self, r: &str, name: &str) -> Result<Value, Status> {
        self.object(Call::new(Verb::Get, target(r, name, ""))).await
    }
    pub async fn update(&self, r: &str, sub: &str, v: &Value) -> Result<Value, Status> {
        let name = v["metadata"]["name"].as_str().unwrap();
        self.object(Call::new(Verb::Update, target(r, name, sub)).body(v.to_string())).await
    }
    pub async fn patch(&self, r: &str, name: &str, media: &str, v: Value) -> Result<Value, Status> {
        let mut call = Call::new(Verb::Patch, target(r, name, "")).body(v.to_string());
        call.content_type = media.into();
        self.object(call).await
    }
    pub async fn apply(&self, r: &str, name: &str, manager: &str, v: Value) -> Result<Value, Status> {
        let mut call = Call::new(Verb::Patch, target(r, name, "")).body(v.to_string()).query("fieldManager", manager);
        call.content_type = "application/apply-patch+yaml".into();
        self.object(call).await
    }
    pub async fn delete(&self, r: &str, name: &str, options: Value) -> Result<Value, Status> {
        self.object(Call::new(Verb::Delete, target(r, name, "")).body(options.to_string())).await
    }
    pub async fn list(&self, r: &str, query: &[(&str, &str)]) -> Result<ListAnswer, Status> {
        let call = query.iter().fold(Call::new(Verb::List, target(r, "", "")), |c, (k, v)| c.query(k, *v));
        match self.call(call).await? {
            Answer::List(l) => Ok(l),
            _ => panic!("no list"),
        }
    }
    pub async fn watch(&self, r: &str, query: &[(&str, &str)]) -> Result<WatchStream, Status> {
        let call = query.iter().fold(Call::new(Verb::Watch, target(r, "", "")), |c, (k, v)| c.query(k, *v));
        match self.call(call).await? {
            Answer::Watch { events, .. } => Ok(events),
            _ => panic!("no watch"),
        }
    }
}

/// The next event: its type, the object's name (or the Status's code).
pub async fn next(events: &mut WatchStream) -> (String, String) {
    let e = events.next().await.expect("the watch goes on");
    let v: Value = skiff_json::from_slice(&e.object).unwrap();
    let what = match v["metadata"]["name"].as_str() {
        Some(n) => n.to_owned(),
        None => v["code"].to_string(),
    };
    (e.kind.as_str().to_owned(), what)
}

pub fn names(list: &ListAnswer) -> Vec<String> {
    list.items.iter().map(|i| skiff_json::from_slice::<Value>(i).unwrap()["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

pub fn config_map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"k": "v"}})
}
pub fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}
pub fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}},
    }})
}
