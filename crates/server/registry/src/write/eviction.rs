//! Evictions against disruption budgets.
use super::{RACES, update::stored};
use crate::{
    body,
    registry::{Context, Registry},
    value,
};
use serde_json::{Value, json};
use skiff_meta::{Cause, LabelSelector, Reason, Status};
use skiff_store::{Entry, Expect, ListQuery, StoreError, Tier, Write};

const BUDGETS: &str = "poddisruptionbudgets.policy";
/// More pods than this on their way out at once mean that the controller is behind.
const DISRUPTED: usize = 2000;

/// Takes one disruption off the budget that covers the pod, or refuses with 429.
pub(crate) async fn allow(registry: &Registry, ctx: &Context<'_>, pod: &Entry, object: &Value, dry_run: bool) -> Result<(), Status> {
    let prefix = format!("{BUDGETS}/{}/", ctx.namespace());
    for _ in 0..=RACES {
        let budgets: Vec<(Entry, Value)> = registry
            .store
            .list(&ListQuery { prefix: prefix.clone(), ..Default::default() })
            .entries
            .into_iter()
            .filter_map(|e| stored(&e).ok().map(|v| (e, v)))
            .filter(|(_, v)| covers(v, pod))
            .collect();
        let (entry, budget) = match &budgets[..] {
            [] => return Ok(()),
            [one] => one,
            _ => return Err(Status::internal("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")),
        };
        if !ready(object) && may_go_unready(budget) {
            return Ok(());
        }
        let mut v = budget.clone();
        take_one(&mut v, pod.name(), &registry.now().to_string())?;
        if dry_run {
            return Ok(());
        }
        let write = Write { key: entry.key.clone(), expect: Expect::At(entry.revision), body: Some(body::encode(&v)), tier: Tier::Durable };
        match registry.store.commit(write).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(e) => return Err(super::store_failure(e)),
        }
    }
    Err(Status::too_many_requests("the disruption budget changes too fast", 10))
}

/// Says in the pod's conditions why it goes, so that a Job can tell an eviction from a failure (KEP-3329).
pub(crate) async fn mark(registry: &Registry, key: &str) -> Result<(), Status> {
    for _ in 0..=RACES {
        let Some(entry) = registry.store.get(key) else { return Ok(()) };
        let mut v = stored(&entry)?;
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting", "lastTransitionTime": registry.now().to_string()});
        let mut conditions: Vec<Value> = value::list(&v, "status.conditions").to_vec();
        conditions.retain(|c| c["type"] != "DisruptionTarget");
        conditions.push(condition);
        if !v["status"].is_object() {
            v["status"] = json!({});
        }
        v["status"]["conditions"] = conditions.into();
        let write = Write { key: entry.key.clone(), expect: Expect::At(entry.revision), body: Some(body::encode(&v)), tier: Tier::Durable };
        match registry.store.commit(write).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(e) => return Err(super::store_failure(e)),
        }
    }
    Err(Status::too_many_requests("the pod changes too fast to be evicted", 10))
}

fn covers(budget: &Value, pod: &Entry) -> bool {
    LabelSelector::from_json(value::at(budget, "spec.selector")).is_ok_and(|s| s.matches_with(|k| pod.row.label(k)))
}

fn ready(pod: &Value) -> bool {
    value::list(pod, "status.conditions").iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// A pod that is not ready counts for nothing, if the budget says so or has all it desires.
fn may_go_unready(budget: &Value) -> bool {
    let always = value::text(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow";
    let (healthy, desired) = (value::int(budget, "status.currentHealthy"), value::int(budget, "status.desiredHealthy"));
    always || (healthy >= desired && desired > 0)
}

fn take_one(budget: &mut Value, pod: &str, now: &str) -> Result<(), Status> {
    let name = value::text(budget, "metadata.name").to_owned();
    if value::int(budget, "status.observedGeneration") < value::int(budget, "metadata.generation") {
        return Err(refused("The disruption budget is still being processed by the server.", &name, &format!("The disruption budget {name} is still being processed by the server."), 10));
    }
    let allowed = value::int(budget, "status.disruptionsAllowed");
    if allowed < 0 {
        return Err(Status::forbidden(&skiff_meta::GroupResource::new("policy", "poddisruptionbudget"), &name, "pdb disruptions allowed is negative"));
    }
    let gone = value::map(budget, "status.disruptedPods").map_or(0, serde_json::Map::len);
    if gone > DISRUPTED {
        return Err(Status::forbidden(&skiff_meta::GroupResource::new("policy", "poddisruptionbudget"), &name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
    }
    if allowed == 0 {
        let (healthy, desired) = (value::int(budget, "status.currentHealthy"), value::int(budget, "status.desiredHealthy"));
        let cause = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(refused("Cannot evict pod as it would violate the pod's disruption budget.", &name, &cause, 0));
    }
    value::set(budget, "status.disruptionsAllowed", allowed - 1);
    if let Some(m) = value::map_mut(budget, "status.disruptedPods") {
        m.insert(pod.to_owned(), json!(now));
    }
    Ok(())
}

fn refused(message: &str, _budget: &str, cause: &str, retry: i32) -> Status {
    let mut s = Status::too_many_requests(message, retry);
    if let Some(d) = s.details.as_mut() {
        d.causes.push(Cause { reason: "DisruptionBudget".into(), message: cause.to_owned(), field: String::new() });
    }
    debug_assert_eq!(s.reason, Reason::TooManyRequests);
    s
}
