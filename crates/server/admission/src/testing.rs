//! A fake of the store's present state, and requests against it.
use crate::request::Operation;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionKind, GroupVersionResource, Status};
use skiff_policy::{Action, Admission, Attributes, Authorizer, Decision, Lookup, Served};
use skiff_request::{Target, User, Verb};
use std::{collections::BTreeMap, sync::Arc};

/// Objects by `resource/namespace/name`, and the resources that serve the same objects as the one asked about.
#[derive(Default)]
pub(crate) struct World(pub Mutex<BTreeMap<String, Bytes>>, pub Vec<(GroupVersionResource, GroupVersionKind)>);

impl World {
    pub fn of(objects: &[(&str, Value)]) -> Self {
        let w = Self::default();
        for (resource, v) in objects {
            w.put(resource, v);
        }
        w
    }
    pub fn put(&self, resource: &str, v: &Value) {
        let text = |k: &str| v["metadata"][k].as_str().unwrap_or_default().to_owned();
        self.0.lock().insert(format!("{resource}/{}/{}", text("namespace"), text("name")), v.to_string().into());
    }
}

#[async_trait]
impl Lookup for World {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Bytes> {
        self.0.lock().get(&format!("{resource}/{namespace}/{name}")).cloned()
    }
    fn list(&self, resource: &str, namespace: &str) -> Vec<Bytes> {
        let prefix = if namespace.is_empty() { format!("{resource}/") } else { format!("{resource}/{namespace}/") };
        self.0.lock().iter().filter(|(k, _)| k.starts_with(&prefix)).map(|(_, v)| v.clone()).collect()
    }
    fn equivalents(&self, _target: &Target) -> Vec<(GroupVersionResource, GroupVersionKind)> {
        self.1.clone()
    }
    /// One kind, `Limit`.
    fn served(&self, kind: &GroupVersionKind) -> Option<Served> {
        let plural = format!("{}s", kind.kind.to_lowercase());
        let storage = format!("{plural}.{}", kind.group);
        let known = *kind.kind == *"Limit";
        known.then(|| Served {
            resource: GroupVersionResource::new(kind.group.clone(), kind.version.clone(), plural),
            namespaced: true,
            storage,
            stored: kind.clone(),
        })
    }
    /// As RFC 7386 has it.
    fn merge(&self, _target: &Target, _kind: &GroupVersionKind, object: &Value, config: &Value) -> Result<Value, String> {
        Ok(skiff_patch::merge_patch(object, config))
    }
    async fn convert(&self, _target: &Target, v: Value, _from: &GroupVersionKind, to: &GroupVersionKind) -> Result<Value, Status> {
        let mut v = v;
        v["apiVersion"] = to.api_version().into();
        Ok(v)
    }
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub object: Value,
    pub warnings: Vec<String>,
    pub audit: BTreeMap<String, String>,
}

/// Allows nothing.
pub(crate) struct Nobody;

#[async_trait]
impl Authorizer for Nobody {
    async fn authorize(&self, _: &User, _: &Action) -> Decision {
        Decision::NoOpinion(String::new())
    }
    async fn rules(&self, _: &User, _: &str) -> (Vec<Value>, Vec<Value>) {
        (Vec::new(), Vec::new())
    }
}

/// One request to be admitted.
pub(crate) struct Request {
    pub user: Arc<User>,
    pub operation: Operation,
    pub resource: GroupVersionResource,
    pub subresource: &'static str,
    pub old: Option<Value>,
    pub object: Value,
    pub dry_run: bool,
    /// Mutation has its second round, should a plug-in ask for it.
    pub twice: bool,
}

impl Request {
    /// `resource` is `resource[.group]`; the version is v1.
    pub fn create(resource: &str, object: Value) -> Self {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        Self {
            user: Arc::new(User::new("someone", [User::AUTHENTICATED])),
            operation: Operation::Create,
            resource: GroupVersionResource::new(group.to_owned(), "v1", resource.to_owned()),
            subresource: "",
            old: None,
            object,
            dry_run: false,
            twice: false,
        }
    }
    pub fn update(resource: &str, old: Value, object: Value) -> Self {
        Self { operation: Operation::Update, old: Some(old), ..Self::create(resource, object) }
    }
    pub fn delete(resource: &str, old: Value) -> Self {
        Self { operation: Operation::Delete, old: Some(old.clone()), ..Self::create(resource, old) }
    }
    /// Opens a connection; the object is its options.
    pub fn connect(resource: &str, options: Value) -> Self {
        Self { operation: Operation::Connect, ..Self::create(resource, options) }
    }
    pub fn twice(self) -> Self {
        Self { twice: true, ..self }
    }
    pub fn sub(self, subresource: &'static str) -> Self {
        Self { subresource, ..self }
    }
    pub fn by(self, user: User) -> Self {
        Self { user: Arc::new(user), ..self }
    }
    pub fn target(&self) -> Target {
        let text = |k: &str| self.object["metadata"][k].as_str().unwrap_or_default().to_owned();
        Target::new(self.resource.clone(), text("namespace"), text("name")).sub(self.subresource)
    }

    /// Gives the object and the warnings.
    pub async fn admit(self, plugin: &dyn Admission, world: &World) -> Result<(Value, Vec<String>), Status> {
        self.admitted(plugin, world).await.map(|a| (a.object, a.warnings))
    }

    /// Mutates, then validates, as the registry does.
    pub async fn admitted(mut self, plugin: &dyn Admission, world: &World) -> Result<Admitted, Status> {
        let target = self.target();
        let kind = GroupVersionKind::new(self.resource.group.clone(), "v1", self.object["kind"].as_str().unwrap_or_default().to_owned());
        let options = json!({});
        let verb = match self.operation {
            Operation::Create => Verb::Create,
            Operation::Update => Verb::Update,
            Operation::Delete => Verb::Delete,
            Operation::Connect => Verb::Create,
        };
        let mut a = Attributes {
            user: &self.user,
            verb,
            connect: self.operation == Operation::Connect,
            reinvocation: Default::default(),
            target: &target,
            kind: &kind,
            old: self.old.as_ref(),
            object: Some(&mut self.object).filter(|_| self.operation != Operation::Delete),
            options: &options,
            dry_run: self.dry_run,
            warnings: Vec::new(),
            audit: BTreeMap::new(),
            lookup: world,
        };
        if self.operation != Operation::Delete {
            plugin.mutate(&mut a).await?;
            if self.twice && std::mem::take(&mut a.reinvocation.wanted) {
                a.reinvocation.again = true;
                plugin.mutate(&mut a).await?;
            }
        }
        plugin.validate(&mut a).await?;
        let (warnings, audit) = (a.warnings, a.audit);
        Ok(Admitted { object: self.object, warnings, audit })
    }
}

/// The text of a refusal, or `ok`.
pub(crate) fn text<T>(r: Result<T, Status>) -> String {
    r.map_or_else(|s| s.message, |_| "ok".to_owned())
}
