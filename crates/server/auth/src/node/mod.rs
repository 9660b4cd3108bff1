//! The Node authoriser: a kubelet reaches what the pods bound to its node need, and its own objects.
//! <https://kubernetes.io/docs/reference/access-authn-authz/node/>
//!
//! What a request would write is not seen here: the NodeRestriction admission plug-in checks that.
mod graph;
mod references;

use crate::changes::{Changes, Since};
use crate::rbac::{Rule, bootstrap};
use graph::{Graph, Kind, PODS, VOLUMES};
use parking_lot::Mutex;
use skiff_json::Value;
use skiff_policy::{Action, Authorizer, Decision, Selectors};
use skiff_request::{Target, User};
use skiff_store::{ListQuery, Store};
use std::sync::Arc;

pub struct Nodes {
    store: Arc<dyn Store>,
    state: Mutex<(Changes, Graph)>,
    /// What every node may do, of the resources that are not told apart by node.
    rules: Vec<Rule>,
}

impl Nodes {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let changes = Changes::new(store.clone(), &[PODS, VOLUMES]);
        Self { store, state: Mutex::new((changes, Graph::default())), rules: bootstrap::cluster_role("system:node") }
    }

    /// Asks the graph, after it took in what changed.
    fn with_graph<T>(&self, ask: impl FnOnce(&Graph) -> T) -> T {
        let mut state = self.state.lock();
        let (changes, graph) = &mut *state;
        match changes.look() {
            Since::Events(events) => events.iter().for_each(|e| graph.apply(e)),
            Since::Lost => {
                let list = |prefix: &str| self.store.list(&ListQuery { prefix: prefix.into(), ..ListQuery::default() }).entries;
                *graph = Graph::of([PODS, VOLUMES].into_iter().flat_map(list));
            }
        }
        ask(graph)
    }

    /// Err is the reason, in upstream's words.
    fn decide(&self, node: &str, verb: &str, t: &Target, selectors: &Selectors) -> Result<(), String> {
        let no = |why: &str| Err(why.to_owned());
        let reads = matches!(verb, "get" | "list" | "watch");
        let (plain, sub) = (t.subresource.is_empty(), t.subresource.as_str());
        match (t.resource.group.as_ref(), t.resource.resource.as_ref()) {
            ("", kind @ ("secrets" | "configmaps")) => match (reads, plain, t.namespace.is_empty()) {
                (false, ..) => no("can only read resources of this type"),
                (_, false, _) => no("cannot read subresource"),
                (.., true) => no("can only read namespaced object of this type"),
                _ => self.related(node, if kind == "secrets" { Kind::Secret } else { Kind::ConfigMap }, t),
            },
            ("", "persistentvolumeclaims") if sub == "status" => match verb {
                "update" | "patch" => self.related(node, Kind::Claim, t),
                _ => no("can only get/update/patch this type"),
            },
            ("", "persistentvolumeclaims") => self.get(node, verb, Kind::Claim, t),
            ("", "persistentvolumes") => self.get(node, verb, Kind::Volume, t),
            ("resource.k8s.io", "resourceclaims") => self.get(node, verb, Kind::ResourceClaim, t),
            ("storage.k8s.io", "volumeattachments") => self.get(node, verb, Kind::Attachment, t),
            ("", "serviceaccounts") => match (verb, sub) {
                ("get", "") => self.related(node, Kind::Account, t),
                ("create", "token") if !t.name.is_empty() => self.related(node, Kind::Account, t),
                ("create", _) if !t.name.is_empty() => no("can only create token subresource of serviceaccount"),
                _ => no("can only create tokens for individual service accounts"),
            },
            ("coordination.k8s.io", "leases") => own(node, verb, t, "node lease", "kube-node-lease"),
            ("storage.k8s.io", "csinodes") if plain => own(node, verb, t, "CSINode", ""),
            ("storage.k8s.io", "csinodes") => no("cannot authorize CSINode subresources"),
            ("resource.k8s.io", "resourceslices") => self.slice(node, verb, t, selectors),
            ("", "nodes") => own_node(node, verb, t),
            ("certificates.k8s.io", "podcertificaterequests") => self.pod_certificate(node, verb, t, selectors),
            ("", "pods") => self.pod(node, verb, t, selectors),
            _ => {
                let action = Action::resource(verb, t.clone());
                if self.rules.iter().any(|r| r.allows(&action)) { Ok(()) } else { no("") }
            }
        }
    }

    fn get(&self, node: &str, verb: &str, kind: Kind, t: &Target) -> Result<(), String> {
        match (verb, t.subresource.as_str()) {
            ("get", "") => self.related(node, kind, t),
            ("get", _) => Err("cannot get subresource".into()),
            _ => Err("can only get individual resources of this type".into()),
        }
    }

    fn related(&self, node: &str, kind: Kind, t: &Target) -> Result<(), String> {
        if t.name.is_empty() {
            return Err("No Object name found".into());
        }
        let names = |prefix: &str, pointer: &str| self.names_node(&format!("{prefix}{}/{}", t.namespace, t.name), pointer, node);
        let related = match kind {
            Kind::Pod => names(PODS, "/spec/nodeName"),
            Kind::Attachment => names("volumeattachments.storage.k8s.io/", "/spec/nodeName"),
            Kind::PodCertificate => names("podcertificaterequests.certificates.k8s.io/", "/spec/nodeName"),
            Kind::Slice => names("resourceslices.resource.k8s.io/", "/spec/nodeName"),
            _ => self.with_graph(|g| g.reaches(kind, &t.namespace, &t.name, node)),
        };
        if related { Ok(()) } else { Err(format!("no relationship found between node '{node}' and this object")) }
    }

    /// Whether the object names the node itself.
    fn names_node(&self, key: &str, pointer: &str, node: &str) -> bool {
        let Some(entry) = self.store.get(key) else { return false };
        match entry.row.field(pointer.trim_start_matches('/').replace('/', ".").as_str()) {
            Some(named) => named == node,
            None => skiff_json::from_slice::<Value>(&entry.bytes).is_ok_and(|v| v.pointer(pointer).and_then(Value::as_str) == Some(node)),
        }
    }

    fn slice(&self, node: &str, verb: &str, t: &Target, selectors: &Selectors) -> Result<(), String> {
        match verb {
            _ if !t.subresource.is_empty() => Err("cannot authorize ResourceSlice subresources".into()),
            "create" => Ok(()),
            "list" | "watch" | "deletecollection" if selects(selectors, node) => Ok(()),
            "list" | "watch" | "deletecollection" => Err("can only list/watch/deletecollection resourceslices with nodeName field selector".into()),
            "get" | "update" | "patch" | "delete" => self.related(node, Kind::Slice, t),
            _ => Err("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection".into()),
        }
    }

    fn pod_certificate(&self, node: &str, verb: &str, t: &Target, selectors: &Selectors) -> Result<(), String> {
        match verb {
            _ if !t.subresource.is_empty() => Err("nodes may not access the status subresource of PodCertificateRequests".into()),
            "create" => Ok(()),
            "get" => self.related(node, Kind::PodCertificate, t),
            "list" | "watch" if selects(selectors, node) => Ok(()),
            "list" | "watch" => Err("can only list/watch podcertificaterequests with nodeName field selector".into()),
            _ => Err(format!("nodes may not {verb} podcertificaterequests")),
        }
    }

    fn pod(&self, node: &str, verb: &str, t: &Target, selectors: &Selectors) -> Result<(), String> {
        match (t.subresource.as_str(), verb) {
            ("", "get") => self.related(node, Kind::Pod, t),
            ("", "list" | "watch") if selects(selectors, node) => Ok(()),
            ("", "list" | "watch") if !t.name.is_empty() => self.related(node, Kind::Pod, t),
            ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".into()),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => Err(String::new()),
        }
    }
}

/// Whether only the node's own are asked for.
fn selects(selectors: &Selectors, node: &str) -> bool {
    selectors.fields.iter().any(|(path, value, equal)| path == "spec.nodeName" && value == node && *equal)
}

/// Objects that bear the node's name. At creation the name is not known yet.
fn own(node: &str, verb: &str, t: &Target, what: &str, namespace: &str) -> Result<(), String> {
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err(format!("can only get, create, update, patch, or delete a {what}"));
    }
    if t.namespace != namespace {
        return Err(format!("can only access leases in the {namespace:?} system namespace"));
    }
    if verb != "create" && t.name != node {
        return Err(format!("can only access {what} with the same name as the requesting node"));
    }
    Ok(())
}

fn own_node(node: &str, verb: &str, t: &Target) -> Result<(), String> {
    match (t.subresource.as_str(), verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if t.name == node => Ok(()),
        ("", "get" | "list" | "watch") if t.name.is_empty() => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
        ("", "get" | "list" | "watch") => Err(format!("node '{node}' cannot read '{}', only its own Node object", t.name)),
        _ => Err(String::new()),
    }
}

#[async_trait::async_trait]
impl Authorizer for Nodes {
    async fn authorize(&self, user: &User, action: &Action) -> Decision {
        let decided = match (user.node(), action) {
            (None, _) => Err(String::new()),
            (Some(""), _) => Err(format!("unknown node for user {:?}", user.name)),
            (Some(node), Action::Resource { verb, target, selectors }) => self.decide(node, verb, target, selectors),
            (Some(_), path) => self.rules.iter().any(|r| r.allows(path)).then_some(()).ok_or_else(String::new),
        };
        match decided {
            Ok(()) => Decision::Allow,
            Err(why) => Decision::NoOpinion(why),
        }
    }
    fn untold(&self, user: &User) -> Option<String> {
        user.node().map(|_| "node authorizer does not support user rule resolution".to_owned())
    }
    /// What a node may do depends on its pods, so it is not told in rules.
    async fn rules(&self, _user: &User, _namespace: &str) -> (Vec<Value>, Vec<Value>) {
        (Vec::new(), Vec::new())
    }
}
