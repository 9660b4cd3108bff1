//! The contracts of authentication, authorisation and admission.
//!
//! The registry and the HTTP server ask; `auth` and `admission` answer. Kept apart so that each can be swapped and
//! tested alone. Nothing here decides.

use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::{FieldSelector, GroupVersionKind, GroupVersionResource, LabelSelector, Requirement, SelectorError, Status};
use skiff_request::{Target, User, Verb};
use skiff_telemetry::metrics::Exposition;
use std::{any::Any, collections::BTreeMap, sync::Arc};

/// What is known of a connection when somebody must be recognised.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The verified client certificate's subject: common name and organisations.
    pub certificate: Option<(String, Vec<String>)>,
    /// What tells that certificate from others: `X509SHA256=` and its digest.
    pub credential: Option<String>,
    /// The bearer token, without its prefix.
    pub bearer: Option<String>,
    /// Lower-cased header names and values (`impersonate-user`, `x-remote-user`, …).
    pub headers: Vec<(String, String)>,
}

#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// None: no opinion, the next is asked. Err: the credentials are there and bad (401).
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Status>;
}

/// Decides who a request acts as.
#[async_trait]
pub trait Impersonation: Send + Sync + 'static {
    /// `user` itself when no header asks for another. `action` is what the request is about.
    async fn act_as(&self, user: User, headers: &[(String, String)], action: &Action) -> Result<User, Status>;
}

/// What authorisation is asked about: a resource or a path.
#[derive(Clone, Debug)]
pub enum Action {
    /// `verb` is RBAC's word: one of [`Verb`], or `impersonate`, `bind`, `escalate`, `approve`, `sign`, …
    Resource { verb: String, target: Target, selectors: Selectors },
    /// `verb` is the HTTP method in lower case.
    Path { verb: String, path: String },
}

impl Action {
    /// On all that `target` names.
    pub fn resource(verb: impl Into<String>, target: Target) -> Self {
        Action::Resource { verb: verb.into(), target, selectors: Selectors::default() }
    }
    /// A request that may be narrowed by selectors: only those that read or delete many are.
    pub fn of(verb: &str, target: Target, labels: Option<&str>, fields: Option<&str>) -> Self {
        let narrows = matches!(verb, "list" | "watch" | "deletecollection");
        let selectors = if narrows { Selectors::parse(labels.unwrap_or_default(), fields.unwrap_or_default()).0 } else { Selectors::default() };
        Action::Resource { verb: verb.to_owned(), target, selectors }
    }
}

/// What a list, a watch or a deletion of many is narrowed to. All of it holds at once, so that leaving out a part only asks
/// for more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Path, value, and whether it must be equal (or differ).
    pub fields: Vec<(String, String, bool)>,
    pub labels: Vec<Requirement>,
}

impl Selectors {
    /// Of query parameters; a selector that is wrong narrows nothing, and is told: labels, fields.
    pub fn parse(labels: &str, fields: &str) -> (Self, [Option<SelectorError>; 2]) {
        let mut wrong = [None, None];
        let labels = LabelSelector::parse(labels).map(|s| s.requirements).unwrap_or_else(|e| {
            wrong[0] = Some(e);
            Vec::new()
        });
        let fields = FieldSelector::parse(fields).map(|s| s.terms).unwrap_or_else(|e| {
            wrong[1] = Some(e);
            Vec::new()
        });
        (Self { fields, labels }, wrong)
    }
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny(String),
    NoOpinion(String),
}

/// A decision with its reason and the errors of those who were asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub decision: Decision,
    pub reason: String,
    pub error: String,
}

#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    async fn authorize(&self, user: &User, action: &Action) -> Decision;
    /// The same with why it is allowed, and what went wrong on the way, for reviews and audit.
    async fn verdict(&self, user: &User, action: &Action) -> Verdict {
        let decision = self.authorize(user, action).await;
        let reason = match &decision {
            Decision::Allow => String::new(),
            Decision::Deny(why) | Decision::NoOpinion(why) => why.clone(),
        };
        Verdict { decision, reason, error: String::new() }
    }
    /// Why [`Authorizer::rules`] cannot tell all that the user may do.
    fn untold(&self, _user: &User) -> Option<String> {
        None
    }
    /// What was counted, for `/metrics`.
    fn metrics(&self, _out: &mut Exposition) {}
    /// The rules that hold for a user in a namespace, as the status of a SelfSubjectRulesReview: (resourceRules, nonResourceRules).
    async fn rules(&self, user: &User, namespace: &str) -> (Vec<Value>, Vec<Value>);
}

/// A write on its way in, for admission. Mutating plug-ins change `object`.
pub struct Attributes<'a> {
    pub user: &'a Arc<User>,
    pub verb: Verb,
    /// The request opens a connection (exec, attach, port-forward, proxy): upstream's CONNECT. The object is its options.
    pub connect: bool,
    pub target: &'a Target,
    /// What `object` and `old` are written in: the stored version, or the kind of a subresource's body.
    pub kind: &'a GroupVersionKind,
    /// The state before (update, patch, delete).
    pub old: Option<&'a Value>,
    /// The state to be (create, update, patch, subresource bodies such as Binding).
    pub object: Option<&'a mut Value>,
    /// The options of the request (`dryRun`, `fieldManager`, delete options).
    pub options: &'a Value,
    pub dry_run: bool,
    /// Filled by plug-ins; become `Warning` headers.
    pub warnings: Vec<String>,
    /// Filled by plug-ins: annotations of the audit event, by `<who>/<key>`.
    pub audit: BTreeMap<String, String>,
    pub reinvocation: Reinvocation,
    /// The namespace object's labels and annotations are read through the lookup.
    pub lookup: &'a dyn Lookup,
}

/// Mutation runs a second time when somebody from outside changed the object in the first.
#[derive(Default)]
pub struct Reinvocation {
    /// A plug-in asks for the second round.
    pub wanted: bool,
    /// This is the second round.
    pub again: bool,
    /// What plug-ins keep from the first round, by their names.
    pub kept: BTreeMap<&'static str, Box<dyn Any + Send + Sync>>,
}

/// Reads of the present state that admission may make; answers canonical JSON from the store's memory.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// `resource` is `<resource>[.<group>]`; `namespace` empty for cluster scope.
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<bytes::Bytes>;
    /// All of a resource; namespace empty for all.
    fn list(&self, resource: &str, namespace: &str) -> Vec<bytes::Bytes>;
    /// What the body of a request for `target` is in the version of its path.
    fn kind(&self, _target: &Target) -> Option<GroupVersionKind> {
        None
    }
    /// All resources that serve the objects of `target`, its own among them, each with its kind.
    fn equivalents(&self, _target: &Target) -> Vec<(GroupVersionResource, GroupVersionKind)> {
        Vec::new()
    }
    /// Rewrites an object of `target` from one of its kinds into another; a webhook may have to be asked.
    async fn convert(&self, _target: &Target, v: Value, _from: &GroupVersionKind, _to: &GroupVersionKind) -> Result<Value, Status> {
        Ok(v)
    }
    /// Where the objects of a kind are; None when it is not served.
    fn served(&self, _kind: &GroupVersionKind) -> Option<Served> {
        None
    }
    /// Lays `config` over `object`, both of `kind`, as server-side apply merges, with no managers. The error says what
    /// does not fit.
    fn merge(&self, _target: &Target, _kind: &GroupVersionKind, _object: &Value, _config: &Value) -> Result<Value, String> {
        Err("this server merges nothing".into())
    }
    /// Makes an object that somebody from outside changed whole again: unknown fields go, defaults come.
    fn complete(&self, _target: &Target, v: Value, _kind: &GroupVersionKind) -> Result<Value, Status> {
        Ok(v)
    }
}

/// A kind as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub resource: GroupVersionResource,
    pub namespaced: bool,
    /// What [`Lookup::get`] and [`Lookup::list`] know its objects by.
    pub storage: String,
    /// The kind that its objects are stored as.
    pub stored: GroupVersionKind,
}

#[async_trait]
pub trait Admission: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    /// What was counted beyond the time that it took, for `/metrics`.
    fn metrics(&self, _out: &mut Exposition) {}
    /// Changes the object; Err refuses the request.
    async fn mutate(&self, _a: &mut Attributes<'_>) -> Result<(), Status> {
        Ok(())
    }
    /// Only looks; Err refuses the request.
    async fn validate(&self, _a: &mut Attributes<'_>) -> Result<(), Status> {
        Ok(())
    }
    /// Called after the write was committed, failed, or was refused by a later plug-in, for plug-ins that reserved
    /// something (quota). `uid` is the object's.
    fn settle(&self, _target: &Target, _uid: &str, _committed: bool) {}
}
