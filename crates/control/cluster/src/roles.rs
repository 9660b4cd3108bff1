//! Aggregated cluster roles: the rules of every role that the aggregation rule selects.
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles>
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use skiff_client::PatchBody;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_json::json;
use skiff_meta::LabelSelector;
use std::sync::Arc;

struct Roles {
    deps: Deps,
    roles: Typed<ClusterRole>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let roles = deps.informers.of::<ClusterRole>();
    roles.index("aggregated", |r| if r.mentions("\"aggregationRule\"") { vec![String::new()] } else { Vec::new() });
    let queue = Queue::new();
    let (q, all) = (queue.clone(), roles.clone());
    roles.subscribe(move |_| all.indexed("aggregated", "").iter().for_each(|r| q.add(r.key.clone())));
    (queue, Arc::new(Roles { deps, roles }))
}

#[async_trait]
impl Reconcile for Roles {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(role) = self.roles.get("", name) else { return Ok(Action::Done) };
        let Some(rule) = &role.aggregation_rule else { return Ok(Action::Done) };
        let mut rules: Vec<PolicyRule> = Vec::new();
        for selector in rule.cluster_role_selectors.iter().flatten() {
            let selector = LabelSelector::from_json(skiff_json::to_value(selector).ok().as_ref()).unwrap_or_else(|_| LabelSelector::nothing());
            let mut found = self.roles.list("", &selector);
            found.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
            for r in found.into_iter().filter(|r| r.metadata.name.as_deref() != Some(name)).flat_map(|r| r.rules.unwrap_or_default()) {
                if !rules.contains(&r) {
                    rules.push(r);
                }
            }
        }
        if role.rules.clone().unwrap_or_default() != rules {
            self.deps.client.patch::<ClusterRole>("", name, PatchBody::merge(&json!({"rules": rules}))).await.at("aggregate cluster role", name)?;
        }
        Ok(Action::Done)
    }
}
