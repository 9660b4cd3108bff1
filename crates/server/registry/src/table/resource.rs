//! One row of the table: everything the generic machinery must know of a resource.
use crate::{print::Columns, shape::Shape, strategy::Strategy, value};
use skiff_json::Value;
use skiff_meta::{GroupResource, GroupVersion, GroupVersionKind};
use skiff_store::Tier;
use std::{borrow::Cow, sync::Arc};

pub type Str = Cow<'static, str>;

/// A resource, built-in or custom.
#[derive(Clone)]
pub struct Resource {
    pub group: Str,
    pub kind: Str,
    pub plural: Str,
    pub singular: Str,
    pub short: Vec<Str>,
    pub categories: Vec<Str>,
    pub namespaced: bool,
    /// Served versions, the preferred one first.
    pub versions: Vec<Str>,
    /// What the stored bytes are written in.
    pub stored: GroupVersion,
    /// The first part of keys, `<resource>[.<group>]`; two rows may share it (the two Event resources).
    pub storage: Str,
    /// RBAC's words, in alphabetical order.
    pub verbs: &'static [&'static str],
    pub subresources: Vec<Subresource>,
    pub columns: Columns,
    /// Fields that selectors may name beside `metadata.name` and `metadata.namespace`.
    pub fields: Vec<Field>,
    pub strategy: Strategy,
    pub scale: ScalePaths,
    pub tier: Tier,
    pub shape: Arc<dyn Shape>,
    /// Between served versions and the stored one; None when they differ in `apiVersion` only.
    pub convert: Option<Convert>,
    /// Made up on request, never stored.
    pub computed: Option<Computed>,
    /// Of custom resources only.
    pub custom: Option<super::Custom>,
}

/// Rewrites an object of the first version into the second.
pub type Convert = fn(&mut Value, &GroupVersion, &GroupVersion);

/// A resource without storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Computed {
    TokenReview,
    SelfSubjectReview,
    SubjectAccessReview,
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    ComponentStatus,
    /// What nodes and pods use.
    Usage,
    /// `bindings`, the old form of `pods/binding`.
    Binding,
}

/// A field that selectors may name.
#[derive(Clone, Copy)]
pub struct Field {
    /// As selectors on this resource write it.
    pub path: &'static str,
    pub read: Read,
}

/// How a selectable field's value is found in the stored object.
#[derive(Clone, Copy)]
pub enum Read {
    /// The scalar at a dotted path.
    At(&'static str),
    With(fn(&Value) -> String),
}

impl Field {
    pub fn value(&self, v: &Value) -> String {
        match self.read {
            Read::With(f) => f(v),
            Read::At(path) => match value::at(v, path) {
                Some(Value::String(s)) => s.clone(),
                Some(x @ (Value::Bool(_) | Value::Number(_))) => x.to_string(),
                _ => String::new(),
            },
        }
    }
}

/// Where the scale subresource finds its numbers: dotted paths.
#[derive(Clone, Debug)]
pub struct ScalePaths {
    pub desired: Str,
    pub current: Str,
    /// None: the label selector of `spec.selector`. Otherwise the path of a selector in its string form.
    pub selector: Option<Str>,
}

impl Default for ScalePaths {
    fn default() -> Self {
        Self { desired: "spec.replicas".into(), current: "status.replicas".into(), selector: None }
    }
}

/// What a subresource does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Status,
    Scale,
    Binding,
    Eviction,
    Token,
    EphemeralContainers,
    Resize,
    Approval,
    Finalize,
    /// Served by a kubelet or a backend through the HTTP server.
    Connect,
}

#[derive(Clone)]
pub struct Subresource {
    pub name: Str,
    pub role: Role,
    /// What it speaks; group and version empty when they are the parent's.
    pub kind: GroupVersionKind,
    pub verbs: &'static [&'static str],
}

impl Resource {
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.clone(), resource: self.plural.clone() }
    }
    pub fn gvk(&self, version: &str) -> GroupVersionKind {
        GroupVersionKind { group: self.group.clone(), version: version.to_owned().into(), kind: self.kind.clone() }
    }
    /// What a request's body is, of the object or of a subresource. None when there is no such subresource.
    pub fn body_kind(&self, version: &str, subresource: &str) -> Option<GroupVersionKind> {
        if subresource.is_empty() {
            return Some(self.gvk(version));
        }
        let kind = &self.subresource(subresource)?.kind;
        Some(if kind.version.is_empty() { GroupVersionKind { kind: kind.kind.clone(), ..self.gvk(version) } } else { kind.clone() })
    }
    pub fn stored_gvk(&self) -> GroupVersionKind {
        self.stored.kind(self.kind.clone())
    }
    pub fn serves(&self, version: &str) -> bool {
        self.versions.iter().any(|v| v == version)
    }
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
    pub fn has_status(&self) -> bool {
        self.subresources.iter().any(|s| s.role == Role::Status)
    }
    /// Where upstream keeps the object in etcd; some of its errors tell.
    pub fn upstream_key(&self, namespace: &str, name: &str) -> String {
        let folder = match (&*self.group, &*self.plural) {
            ("", "nodes") => "minions".to_owned(),
            ("", "services") => "services/specs".to_owned(),
            ("", "endpoints") => "services/endpoints".to_owned(),
            ("", "replicationcontrollers") => "controllers".to_owned(),
            ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
            ("apiextensions.k8s.io" | "apiregistration.k8s.io", plural) => format!("{}/{plural}", self.group),
            (group, plural) if self.custom.is_some() => format!("{group}/{plural}"),
            (_, plural) => plural.to_owned(),
        };
        let namespace = if self.namespaced { format!("{namespace}/") } else { String::new() };
        format!("/registry/{folder}/{namespace}{name}")
    }
    /// The store's key; `namespace` is ignored when the resource has none.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        let namespace = if self.namespaced { namespace } else { "" };
        format!("{}/{namespace}/{name}", self.storage)
    }
    /// The prefix of all keys of a namespace, or of all namespaces when it is empty.
    pub fn prefix(&self, namespace: &str) -> String {
        match (self.namespaced, namespace) {
            (false, _) => format!("{}//", self.storage),
            (true, "") => format!("{}/", self.storage),
            (true, ns) => format!("{}/{ns}/", self.storage),
        }
    }
    /// Whether an object of `version` has other bytes than the stored one.
    pub fn converts(&self, version: &str) -> bool {
        self.stored.version != version || self.stored.group != self.group
    }
    /// There and back: what a version cannot say by itself gets the form that it is read in, before fields are recorded.
    pub fn pass_through(&self, value: &mut Value, version: &GroupVersion, working: &GroupVersion) {
        if self.convert.is_some() && version != working {
            self.convert(value, version, working);
            self.convert(value, working, version);
        }
    }
    /// From `from` to `to`, in place.
    pub fn convert(&self, value: &mut Value, from: &GroupVersion, to: &GroupVersion) {
        if from == to {
            return;
        }
        if let Some(f) = self.convert {
            f(value, from, to);
        }
        value["apiVersion"] = to.to_string().into();
    }
}
