//! Roles and bindings, parsed and found by subject.
//!
//! Rebuilt when one of them changed; what did not change is not parsed again (an object's shared bytes are its
//! identity). A grant is a binding seen from one of its subjects.
use super::rule::{Rule, nullable};
use serde::Deserialize;
use skiff_request::User;
use skiff_store::{Entry, ListQuery, Store};
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io/";
pub(crate) const ROLES: &str = "roles.rbac.authorization.k8s.io/";
pub(crate) const CLUSTER_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io/";
pub(crate) const BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io/";

#[derive(Deserialize, Default)]
#[serde(default)]
struct RoleWire {
    #[serde(deserialize_with = "nullable")]
    rules: Vec<Rule>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BindingWire {
    #[serde(deserialize_with = "nullable")]
    subjects: Vec<Subject>,
    role_ref: RoleRef,
}

#[derive(Clone, Debug, Deserialize, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Subject {
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

#[derive(Clone, Debug, Deserialize, Default, PartialEq, Eq)]
#[serde(default)]
pub struct RoleRef {
    pub kind: String,
    pub name: String,
}

/// A parsed object; the entry keeps the bytes alive, so that their address stays theirs.
struct Parsed<T> {
    entry: Entry,
    value: Arc<T>,
}

pub(crate) struct Grant {
    /// Empty: the whole cluster.
    pub namespace: Box<str>,
    binding: Box<str>,
    role: RoleRef,
    subject: Subject,
    /// None: the role is not there.
    pub rules: Option<Arc<Vec<Rule>>>,
}

#[derive(Default)]
pub(crate) struct Index {
    roles: HashMap<Arc<str>, Parsed<Vec<Rule>>>,
    bindings: HashMap<Arc<str>, Parsed<(Vec<Subject>, RoleRef)>>,
    users: HashMap<Box<str>, Vec<Grant>>,
    groups: HashMap<Box<str>, Vec<Grant>>,
}

/// Takes over from `before` what has the same bytes, parses the rest. An object that does not parse grants nothing.
fn refresh<T>(before: &mut HashMap<Arc<str>, Parsed<T>>, now: Vec<Entry>, parse: impl Fn(&[u8]) -> skiff_json::Result<T>) -> HashMap<Arc<str>, Parsed<T>> {
    let known = |entry: Entry| {
        let same = before.remove(&entry.key).filter(|p| p.entry.bytes.as_ptr() == entry.bytes.as_ptr() && p.entry.revision == entry.revision);
        let value = match same {
            Some(parsed) => parsed.value,
            None => match parse(&entry.bytes) {
                Ok(value) => Arc::new(value),
                Err(error) => {
                    tracing::warn!(target: "auth", key = &*entry.key, %error, "an RBAC object is not readable and grants nothing");
                    return None;
                }
            },
        };
        Some((entry.key.clone(), Parsed { entry, value }))
    };
    now.into_iter().filter_map(known).collect()
}

impl Index {
    pub fn rebuilt(mut self, store: &dyn Store) -> Self {
        let list = |prefixes: [&str; 2]| {
            let page = |prefix: &str| store.list(&ListQuery { prefix: prefix.to_owned(), ..ListQuery::default() }).entries;
            prefixes.into_iter().flat_map(page).collect::<Vec<_>>()
        };
        let roles = refresh(&mut self.roles, list([CLUSTER_ROLES, ROLES]), |b| skiff_json::from_slice::<RoleWire>(b).map(|r| r.rules));
        let bindings =
            refresh(&mut self.bindings, list([CLUSTER_BINDINGS, BINDINGS]), |b| skiff_json::from_slice::<BindingWire>(b).map(|b| (b.subjects, b.role_ref)));
        let mut index = Index { roles, bindings, ..Index::default() };
        index.find_grants();
        index
    }

    fn find_grants(&mut self) {
        let mut keys: Vec<_> = self.bindings.keys().cloned().collect();
        keys.sort_unstable();
        for key in keys {
            let Some(binding) = self.bindings.get(&key) else { continue };
            let (entry, (subjects, role)) = (&binding.entry, &*binding.value);
            let rules = self.rules_of(role, entry.namespace());
            for subject in subjects {
                let grant = Grant {
                    namespace: entry.namespace().into(),
                    binding: entry.name().into(),
                    role: role.clone(),
                    subject: subject.clone(),
                    rules: rules.clone(),
                };
                match subject.kind.as_str() {
                    "User" => self.users.entry(subject.name.as_str().into()).or_default().push(grant),
                    "Group" => self.groups.entry(subject.name.as_str().into()).or_default().push(grant),
                    "ServiceAccount" => {
                        let namespace = if subject.namespace.is_empty() { entry.namespace() } else { &subject.namespace };
                        let user = format!("system:serviceaccount:{namespace}:{}", subject.name);
                        self.users.entry(user.into()).or_default().push(grant);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The rules of a role; `namespace` is the binding's.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Option<Arc<Vec<Rule>>> {
        let key = match role.kind.as_str() {
            "ClusterRole" => format!("{CLUSTER_ROLES}/{}", role.name),
            _ => format!("{ROLES}{namespace}/{}", role.name),
        };
        self.roles.get(key.as_str()).map(|p| p.value.clone())
    }

    /// What a user is granted in a namespace (empty: cluster-wide grants only), by name and by each group.
    pub fn grants<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'a Grant> {
        let by_user = self.users.get(user.name.as_str()).into_iter().flatten();
        let by_group = user.groups.iter().filter_map(|g| self.groups.get(g.as_str())).flatten();
        by_user.chain(by_group).filter(move |g| g.namespace.is_empty() || *g.namespace == *namespace)
    }
}

impl Grant {
    /// As upstream's `reason` tells it.
    pub fn told(&self) -> String {
        let subject = match self.subject.kind.as_str() {
            "ServiceAccount" => {
                let namespace = if self.subject.namespace.is_empty() { &self.namespace } else { self.subject.namespace.as_str() };
                format!("ServiceAccount \"{}/{namespace}\"", self.subject.name)
            }
            kind => format!("{kind} {:?}", self.subject.name),
        };
        let binding = match self.namespace.is_empty() {
            true => format!("ClusterRoleBinding {:?}", self.binding),
            false => format!("RoleBinding \"{}/{}\"", self.binding, self.namespace),
        };
        format!("RBAC: allowed by {binding} of {} {:?} to {subject}", self.role.kind, self.role.name)
    }
    /// What is wrong when the role is not there.
    pub fn missing(&self) -> String {
        format!("{}.rbac.authorization.k8s.io {:?} not found", self.role.kind.to_lowercase(), self.role.name)
    }
}
