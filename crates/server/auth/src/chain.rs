//! The authorisers one after another, and what a refusal says.
use crate::node::Nodes;
use crate::rbac::Rbac;
use parking_lot::RwLock;
use skiff_json::Value;
use skiff_meta::{GroupResource, Status};
use skiff_policy::{Action, Authorizer, Decision, Verdict};
use skiff_request::User;
use skiff_store::Store;
use skiff_telemetry::metrics::{Exposition, Keyed};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// `system:masters`, then those of the configured order: the Node authoriser and RBAC unless told otherwise. The first
/// that allows or denies decides.
pub struct Chain {
    pub nodes: Arc<Nodes>,
    pub rbac: Arc<Rbac>,
    order: RwLock<Arc<Vec<Named>>>,
    /// What each decided, by its name: allowed, denied.
    decided: Keyed<String, [AtomicU64; 2]>,
}

/// So many authorisers are counted by their names.
const MOST: usize = 64;

/// An authoriser and what it is called where its reasons are told.
pub type Named = (String, Arc<dyn Authorizer>);

impl Chain {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let (nodes, rbac) = (Arc::new(Nodes::new(store.clone())), Arc::new(Rbac::new(store)));
        let order: Vec<Named> = vec![("node".into(), nodes.clone()), ("rbac".into(), rbac.clone())];
        Self { nodes, rbac, order: RwLock::new(Arc::new(order)), decided: Keyed::new(MOST) }
    }
    /// Asks these from now on.
    pub fn set_order(&self, order: Vec<Named>) {
        *self.order.write() = Arc::new(order);
    }
    fn count(&self, name: &str, decision: &Decision) {
        let at = usize::from(matches!(decision, Decision::Deny(_)));
        let counts = self.decided.of(name, || name.to_owned(), || "others".to_owned(), |_| Default::default());
        counts[at].fetch_add(1, Ordering::Relaxed);
    }
    fn order(&self) -> Arc<Vec<Named>> {
        self.order.read().clone()
    }
}

#[async_trait::async_trait]
impl Authorizer for Chain {
    async fn authorize(&self, user: &User, action: &Action) -> Decision {
        if user.in_group(User::MASTERS) {
            return Decision::Allow;
        }
        let mut reasons = Vec::new();
        for (name, each) in self.order().iter() {
            match each.authorize(user, action).await {
                Decision::NoOpinion(why) if why.is_empty() => {}
                Decision::NoOpinion(why) => reasons.push(format!("{name}: {why}")),
                decided => {
                    self.count(name, &decided);
                    return decided;
                }
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }
    async fn verdict(&self, user: &User, action: &Action) -> Verdict {
        if user.in_group(User::MASTERS) {
            return Verdict { decision: Decision::Allow, reason: String::new(), error: String::new() };
        }
        let (mut reasons, mut errors) = (Vec::new(), Vec::new());
        for (name, each) in self.order().iter() {
            let said = each.verdict(user, action).await;
            errors.extend(Some(said.error).filter(|e| !e.is_empty()));
            if !matches!(said.decision, Decision::NoOpinion(_)) {
                self.count(name, &said.decision);
                return Verdict { decision: said.decision, reason: said.reason, error: told(errors) };
            }
            reasons.extend(Some(said.reason).filter(|r| !r.is_empty()).map(|r| format!("{name}: {r}")));
        }
        let reason = reasons.join("\n");
        Verdict { decision: Decision::NoOpinion(reason.clone()), reason, error: told(errors) }
    }
    async fn rules(&self, user: &User, namespace: &str) -> (Vec<Value>, Vec<Value>) {
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        // The rules of `system:masters` are those of the role that the group is bound to.
        for (_, each) in self.order().iter() {
            let (more, and) = each.rules(user, namespace).await;
            resources.extend(more);
            paths.extend(and);
        }
        (resources, paths)
    }
    fn metrics(&self, out: &mut Exposition) {
        let name = "apiserver_authorization_decisions_total";
        out.family(name, "counter", "Requests that an authoriser decided");
        for (who, counts) in self.decided.sorted() {
            let kind = match who.as_str() {
                "node" => "Node",
                "rbac" => "RBAC",
                _ => "Webhook",
            };
            for (decision, n) in ["allowed", "denied"].iter().zip(&*counts).map(|(d, n)| (d, n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0) {
                out.sample(name, &[("decision", decision), ("name", &who), ("type", kind)], n);
            }
        }
    }
    fn untold(&self, user: &User) -> Option<String> {
        let all: Vec<String> = self.order().iter().filter_map(|(_, each)| each.untold(user)).collect();
        (!all.is_empty()).then(|| told(all))
    }
}

/// Several errors as Go's aggregate words them.
fn told(mut errors: Vec<String>) -> String {
    errors.dedup();
    match errors.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        more => format!("[{}]", more.join(", ")),
    }
}

/// What a user is told that may not do something: upstream's words, and `why` behind them.
pub fn forbidden(user: &User, action: &Action, why: &str) -> Status {
    let behind = if why.is_empty() { String::new() } else { format!(": {why}") };
    let status = match action {
        Action::Path { verb, path } => Status::forbidden(&GroupResource::new("", ""), "", &format!("User {:?} cannot {verb} path {path:?}{behind}", user.name)),
        Action::Resource { verb, target, .. } => {
            let resource = match target.subresource.as_str() {
                "" => target.resource.resource.to_string(),
                sub => format!("{}/{sub}", target.resource.resource),
            };
            let scope = match target.namespace.as_str() {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            let told = format!("User {:?} cannot {verb} resource {resource:?} in API group {:?} {scope}{behind}", user.name, target.resource.group);
            Status::forbidden(&target.group_resource(), &target.name, &told)
        }
    };
    Status { unauthorized: true, ..status }
}
