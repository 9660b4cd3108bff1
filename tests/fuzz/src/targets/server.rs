//! What the API server reads: definitions of resources, whole requests, tokens, manifests.

use skiff_auth::token::{Issuer, Keys};
use skiff_crd::definition::Definition;
use skiff_crd::jsonpath::JsonPath;
use skiff_crd::schema::{self, Schema};
use skiff_flowcontrol::{Ask, Configuration, FlowControl};
use skiff_json::Value;
use skiff_meta::GroupVersionResource;
use skiff_policy::{Action, Authorizer, Decision};
use skiff_registry::{Options, Registry, RowIndexer, table::Table};
use skiff_request::{Answer, Call, PatchType, Service, Target, User, Verb};
use skiff_store::memory::Memory;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::{Builder, Runtime};

pub fn jsonpath(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(path) = JsonPath::parse(text) else { return };
    let v = skiff_json::json!({"a": [{"b": 1, "c": "x"}, {"b": 2}], "m": {"a": {"b": [1, 2, 3]}}, "x.y": null});
    let _ = path.find(&v);
}

/// A schema with a value, or a whole definition.
pub fn crd_schema(data: &[u8]) {
    let Ok(v) = skiff_json::from_slice::<Value>(data) else { return };
    let _ = Definition::read(&v);
    let s = Schema::read(v.get("schema").unwrap_or(&v));
    let mut value = v.get("value").unwrap_or(&v).clone();
    let _ = schema::coerce(&mut value, &s);
    let _ = schema::prune(&mut value, &s, true);
    schema::default(&mut value, &s);
    schema::drop_nulls(&mut value, &s);
    let _ = schema::check_lists(&value, &s);
    if let Some(text) = v.get("path").and_then(Value::as_str) {
        let _ = schema::field_path(text, &s, true);
        let _ = schema::pattern(text);
    }
}

pub fn audit_policy(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = skiff_audit::Policy::read(text);
    }
}

/// Levels and schemas, whatever they say: a request always has a place, and what is shown can be shown.
pub fn flow_control(data: &[u8]) {
    let Ok(v) = skiff_json::from_slice::<Value>(data) else { return };
    let all = |key: &str| v.get(key).and_then(Value::as_array).cloned().unwrap_or_else(|| vec![v.clone()]);
    let control = FlowControl::new(600, Configuration::read(&all("schemas"), &all("levels")));
    let user = User::new("ann", [User::AUTHENTICATED]);
    let target = Target::new(GroupVersionResource::new("", "v1", "pods"), "a", "x");
    for ask in [Ask::Resource(&target), Ask::Path("/healthz")] {
        assert!(control.classify(&skiff_flowcontrol::Request { user: &user, verb: "get", ask }).is_some());
    }
    control.configure(Configuration::read(&[], &[]));
    let mut shown = skiff_telemetry::metrics::Exposition::default();
    control.metrics(&mut shown);
    let _ = (shown.text(), shown.protobuf());
}

struct Everybody;

#[async_trait::async_trait]
impl Authorizer for Everybody {
    async fn authorize(&self, _: &User, _: &Action) -> Decision {
        Decision::Allow
    }
    async fn rules(&self, _: &User, _: &str) -> (Vec<Value>, Vec<Value>) {
        Default::default()
    }
}

fn now() -> Arc<dyn Fn() -> SystemTime + Send + Sync> {
    Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

struct Server {
    runtime: Runtime,
    registry: Arc<Registry>,
    user: Arc<User>,
    served: usize,
}

impl Server {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let table = Arc::new(Table::builtin());
        let store = Arc::new(Memory::new(Arc::new(RowIndexer::new(table.clone()))));
        let options =
            Options { authorizer: Arc::new(Everybody), admission: Vec::new(), now: now(), random: Arc::new(|| 4), tokens: None, services: Default::default() };
        let registry = {
            let _inside = runtime.enter();
            Registry::new(store, table, options)
        };
        Self { runtime, registry, user: Arc::new(User::new("tester", ["system:masters"])), served: 0 }
    }
    fn call(&self, call: Call) {
        self.runtime.block_on(async {
            if let Ok(Answer::List(list)) = self.registry.serve(self.user.clone(), call).await {
                assert!(list.items.iter().all(|i| skiff_json::from_slice::<Value>(i).is_ok()), "an item is no JSON");
            }
        });
    }
}

/// Runs on a server that lives for some hundred inputs.
fn with_server(f: impl FnOnce(&Server)) {
    thread_local!(static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) });
    SERVER.with(|slot| {
        let server = slot.take().filter(|s| s.served < 500);
        let mut server = server.unwrap_or_else(Server::new);
        f(&server);
        server.served += 1;
        slot.replace(Some(server));
    });
}

/// Where an object of this body would go.
fn target_of(body: &[u8]) -> Option<Target> {
    let meta = skiff_codec::type_meta(body).ok()?;
    let kind = meta.kind.to_lowercase();
    let plural = if kind.ends_with('y') {
        format!("{}ies", kind.trim_end_matches('y'))
    } else if kind.ends_with('s') {
        format!("{kind}es")
    } else {
        format!("{kind}s")
    };
    let resource = GroupVersionResource::new(meta.group().to_owned(), meta.version().to_owned(), plural);
    let object: Value = skiff_json::from_slice(body).unwrap_or_default();
    let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Target::new(resource, text("/metadata/namespace"), text("/metadata/name")))
}

/// The body in every role that a body has: a create, an update, each kind of patch, options of a delete.
pub fn requests(data: &[u8]) {
    let target = target_of(data).unwrap_or_else(|| Target::new(GroupVersionResource::new("", "v1", "pods"), "default", "p"));
    let nameless = Target { name: String::new(), ..target.clone() };
    with_server(|s| {
        s.call(Call::new(Verb::Create, nameless.clone()).body(data.to_vec()).query("fieldValidation", "Strict"));
        s.call(Call::new(Verb::Create, nameless.clone()).body(data.to_vec()));
        s.call(Call::new(Verb::Update, target.clone()).body(data.to_vec()));
        for patch in [PatchType::Json, PatchType::Merge, PatchType::Strategic, PatchType::Apply] {
            let mut call = Call::new(Verb::Patch, target.clone()).body(data.to_vec()).query("fieldManager", "fuzz");
            call.content_type = patch.media_type().to_owned();
            s.call(call);
        }
        s.call(Call::new(Verb::Update, target.clone().sub("status")).body(data.to_vec()));
        s.call(Call::new(Verb::List, nameless.clone()));
        s.call(Call::new(Verb::Delete, target.clone()).body(data.to_vec()));
    });
}

/// The query of a list: selectors, continue tokens, revisions.
pub fn queries(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let call = text
        .split('&')
        .filter_map(|p| p.split_once('='))
        .fold(Call::new(Verb::List, Target::new(GroupVersionResource::new("", "v1", "pods"), "", "")), |c, (k, v)| c.query(k, v));
    with_server(|s| s.call(call));
}

pub fn token(data: &[u8]) {
    thread_local!(static ISSUER: Issuer = {
        let private = Keys::generate().expect("a key");
        let store = Arc::new(Memory::new(Arc::new(RowIndexer::new(Arc::new(Table::builtin())))));
        Issuer::new(Keys::new(&private, &[]).expect("the key"), "https://issuer", vec![], store, now(), Arc::new(|| "id".to_owned()))
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    ISSUER.with(|i| {
        let _ = i.recognise(text, &["https://issuer".to_owned()]);
        let _ = i.review(text, &[]);
    });
    let _ = Keys::new(text, &[text]);
}

pub fn manifests(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = skiff_manifests::documents(text);
    }
}

pub fn log_levels(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = skiff_telemetry::parse(text);
    }
}
