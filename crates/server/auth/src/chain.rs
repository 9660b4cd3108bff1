//! The authorisers one after another, and what a refusal says.
use crate::node::Nodes;
use crate::rbac::Rbac;
use serde_json::{Value, json};
use skiff_meta::{GroupResource, Status};
use skiff_policy::{Action, Authorizer, Decision};
use skiff_request::User;
use skiff_store::Store;
use std::sync::Arc;

/// `system:masters`, then the Node authoriser, then RBAC: who allows first wins; none of them denies.
pub struct Chain {
    pub nodes: Nodes,
    pub rbac: Arc<Rbac>,
}

impl Chain {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { nodes: Nodes::new(store.clone()), rbac: Arc::new(Rbac::new(store)) }
    }
}

#[async_trait::async_trait]
impl Authorizer for Chain {
    async fn authorize(&self, user: &User, action: &Action) -> Decision {
        if user.in_group(User::MASTERS) || open_to_all(user, action) {
            return Decision::Allow;
        }
        let mut reasons = Vec::new();
        for each in [&self.nodes as &dyn Authorizer, &*self.rbac] {
            match each.authorize(user, action).await {
                Decision::NoOpinion(why) if why.is_empty() => {}
                Decision::NoOpinion(why) => reasons.push(why),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }
    /// The others allow without a reason, as upstream's do.
    async fn reason(&self, user: &User, action: &Action) -> String {
        let others = user.in_group(User::MASTERS) || self.nodes.authorize(user, action).await == Decision::Allow;
        if others { String::new() } else { self.rbac.reason(user, action).await }
    }
    async fn rules(&self, user: &User, namespace: &str) -> (Vec<Value>, Vec<Value>) {
        let (mut resources, mut paths) = self.rbac.rules(user, namespace).await;
        if user.in_group(User::MASTERS) {
            resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
            paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
        }
        (resources, paths)
    }
}

/// Health and version, even before the bootstrap roles are written.
fn open_to_all(user: &User, action: &Action) -> bool {
    user.name == User::ANONYMOUS && matches!(action, Action::Path { verb, path } if verb == "get" && crate::anonymous(path).is_some())
}

/// What a user is told that may not do something: upstream's words, and `why` behind them.
pub fn forbidden(user: &User, action: &Action, why: &str) -> Status {
    let behind = if why.is_empty() { String::new() } else { format!(": {why}") };
    match action {
        Action::Path { verb, path } => Status::forbidden(&GroupResource::new("", ""), "", &format!("User {:?} cannot {verb} path {path:?}{behind}", user.name)),
        Action::Resource { verb, target } => {
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
    }
}
