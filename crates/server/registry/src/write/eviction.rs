//! Evictions against disruption budgets.
use super::{RACES, delete::DeleteOptions, update::stored};
use crate::{
    body,
    registry::{Context, Registry},
    value,
};
use skiff_json::{Value, json};
use skiff_meta::{Cause, LabelSelector, Reason, Revision, Status};
use skiff_store::{Entry, Expect, ListQuery, StoreError, Tier, Write};

const BUDGETS: &str = "poddisruptionbudgets.policy";
/// More pods than this on their way out at once mean that the controller is behind.
const DISRUPTED: usize = 2000;
const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// What the budgets say about one pod.
enum Allowed {
    /// None covers it, or one of them has one disruption less now.
    Yes,
    /// The budget of this name lets it go as long as it is not ready.
    Unready(String),
}

/// Deletes a pod if the disruption budgets that cover it allow one less. Pods that are over, leaving or not running yet
/// disrupt nothing.
pub(crate) async fn evict(registry: &Registry, ctx: &Context<'_>, options: &mut DeleteOptions) -> Result<(), Status> {
    let pinned = options.names_revision();
    for race in 0..=RACES {
        let entry = registry.entry(ctx)?;
        options.check_entry(ctx, &entry)?;
        let pod = stored(&entry)?;
        let phase = value::text(&pod, "status.phase");
        let free = entry.row.deleting || matches!(phase, "Succeeded" | "Failed" | "Pending");
        let allowed = if free { Allowed::Yes } else { allow(registry, ctx, &entry, &pod, options.dry_run).await? };
        // What must not become ready meanwhile is deleted as it was seen.
        let as_seen = matches!(allowed, Allowed::Unready(_)) || (phase == "Pending" && !entry.row.deleting);
        match delete(registry, ctx, &entry, options, pinned || as_seen).await {
            Err(e) if e.is(Reason::Conflict) && !pinned => match allowed {
                Allowed::Unready(budget) => return Err(processing(&budget)),
                Allowed::Yes if free && race < RACES => {}
                Allowed::Yes => return Err(e),
            },
            done => return done,
        }
    }
    Err(Status::too_many_requests("the pod changes too fast to be evicted", 10))
}

async fn delete(registry: &Registry, ctx: &Context<'_>, entry: &Entry, options: &DeleteOptions, as_seen: bool) -> Result<(), Status> {
    let mut options = options.clone();
    if as_seen {
        options.only_at(entry.revision);
    }
    if !options.dry_run && !entry.row.deleting {
        let marked = mark(registry, entry, as_seen).await?;
        if as_seen {
            options.only_at(marked);
        }
    }
    registry.delete_named(ctx, ctx.name(), ctx.namespace(), &options).await.map(drop)
}

/// Takes one disruption off the budget that covers the pod, or refuses with 429.
async fn allow(registry: &Registry, ctx: &Context<'_>, pod: &Entry, object: &Value, dry_run: bool) -> Result<Allowed, Status> {
    let prefix = format!("{BUDGETS}/{}/", ctx.namespace());
    for _ in 0..=RACES {
        let all = registry.store.list(&ListQuery { prefix: prefix.clone(), ..Default::default() }).entries;
        let budgets: Vec<(Entry, Value)> = all.into_iter().filter_map(|e| stored(&e).ok().map(|v| (e, v))).filter(|(_, v)| covers(v, pod)).collect();
        let (entry, budget) = match &budgets[..] {
            [] => return Ok(Allowed::Yes),
            [one] => one,
            _ => {
                let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Status { code: 500, ..Status::new(Reason::Unknown, why) });
            }
        };
        if !ready(object) && may_go_unready(budget) {
            return Ok(Allowed::Unready(entry.name().to_owned()));
        }
        let mut v = budget.clone();
        take_one(&mut v, pod.name(), &registry.now().to_string())?;
        if dry_run {
            return Ok(Allowed::Yes);
        }
        let write = Write { key: entry.key.clone(), expect: Expect::At(entry.revision), body: Some(body::encode(&v)), tier: Tier::Durable };
        match registry.store.commit(write).await {
            Ok(_) => return Ok(Allowed::Yes),
            Err(StoreError::Conflict { .. }) => {}
            Err(e) => return Err(super::store_failure(e)),
        }
    }
    Err(Status::new(Reason::Timeout, "Timeout: couldn't update PodDisruptionBudget due to conflicts"))
}

/// Says in the pod's conditions why it goes, so that a Job can tell an eviction from a failure (KEP-3329); the revision
/// that it has then. `as_seen`: only if it is still what it was.
async fn mark(registry: &Registry, seen: &Entry, as_seen: bool) -> Result<Revision, Status> {
    for _ in 0..=RACES {
        let Some(entry) = (if as_seen { Some(seen.clone()) } else { registry.store.get(&seen.key) }) else { return Ok(seen.revision) };
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
            Ok(entry) => return Ok(entry.revision),
            Err(StoreError::Conflict { .. }) if !as_seen => {}
            Err(StoreError::Conflict { .. }) => {
                return Err(Status::conflict(
                    &skiff_meta::GroupResource::new("", "pods"),
                    seen.name(),
                    "the object has been modified; please apply your changes to the latest version and try again",
                ));
            }
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
        return Err(processing(&name));
    }
    let forbidden = |why: &str, cause: &str| {
        let s = Status::forbidden(&skiff_meta::GroupResource::new("policy", "poddisruptionbudget"), &name, why);
        caused(s, format!("The disruption budget {name} does not allow evicting pods currently: {cause}"))
    };
    let allowed = value::int(budget, "status.disruptionsAllowed");
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative", "pdb disruptions allowed is negative"));
    }
    if value::map(budget, "status.disruptedPods").map_or(0, skiff_json::Map::len) > DISRUPTED {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            "too many pending evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        return Err(caused(Status::too_many_requests(VIOLATES, 0), why_none(budget, &name)));
    }
    value::set(budget, "status.disruptionsAllowed", allowed - 1);
    if allowed == 1 {
        exhausted(budget, now);
    }
    if !value::at(budget, "status.disruptedPods").is_some_and(Value::is_object) {
        value::set(budget, "status.disruptedPods", json!({}));
    }
    if let Some(m) = value::map_mut(budget, "status.disruptedPods") {
        m.insert(pod.to_owned(), json!(now));
    }
    Ok(())
}

/// What the budget's condition says, if it is False and says something.
fn refusal(budget: &Value) -> Option<(&str, &str)> {
    let c = value::list(budget, "status.conditions").iter().find(|c| c["type"] == "DisruptionAllowed" && c["status"] == "False")?;
    Some((c["reason"].as_str().unwrap_or_default(), c["message"].as_str().filter(|m| !m.is_empty())?))
}

fn why_none(budget: &Value, name: &str) -> String {
    let (healthy, desired) = (value::int(budget, "status.currentHealthy"), value::int(budget, "status.desiredHealthy"));
    match refusal(budget) {
        // The counts are not to be trusted then.
        Some(("SyncFailed", message)) => format!("The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"),
        _ if healthy <= desired => format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"),
        Some((reason, message)) => format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// The last disruption is taken: the condition says so before the controller does.
fn exhausted(budget: &mut Value, now: &str) {
    let mut all = value::list(budget, "status.conditions").to_vec();
    let before = all.iter().position(|c| c["type"] == "DisruptionAllowed");
    let since = before.and_then(|i| all.get(i)).filter(|c| c["status"] == "False").map_or(json!(now), |c| c["lastTransitionTime"].clone());
    let condition = json!({"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "", "lastTransitionTime": since, "observedGeneration": value::int(budget, "status.observedGeneration")});
    match before.and_then(|i| all.get_mut(i)) {
        Some(c) => *c = condition,
        None => all.push(condition),
    }
    value::set(budget, "status.conditions", all);
}

fn caused(mut s: Status, cause: String) -> Status {
    if let Some(d) = s.details.as_mut() {
        d.causes.push(Cause { reason: "DisruptionBudget".into(), message: cause, field: String::new() });
    }
    s
}

/// The controller has not seen the budget's or the pod's last change.
fn processing(name: &str) -> Status {
    caused(Status::too_many_requests(VIOLATES, 10), format!("The disruption budget {name} is still being processed by the server."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: Value) -> Value {
        json!({"metadata": {"name": "b", "generation": 1}, "spec": {}, "status": status})
    }
    fn cause(s: &Status) -> String {
        s.details.as_ref().map(|d| d.causes.iter().map(|c| c.message.as_str()).collect::<Vec<_>>().join(";")).unwrap_or_default()
    }

    #[test]
    fn refusals_say_why() {
        for (status, want) in [
            (json!({}), "is still being processed by the server."),
            (json!({"observedGeneration": 1, "disruptionsAllowed": -1}), "does not allow evicting pods currently: pdb disruptions allowed is negative"),
            (json!({"observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 2}), "needs 2 healthy pods and has 2 currently"),
            (json!({"observedGeneration": 1, "currentHealthy": 3, "desiredHealthy": 2}), "does not allow evicting pods currently"),
            (
                json!({"observedGeneration": 1, "conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}]}),
                "does not allow evicting pods currently because it failed sync: no scale",
            ),
        ] {
            let refused = take_one(&mut budget(status), "p", "now").unwrap_err();
            assert!(cause(&refused).ends_with(want), "{refused:?}");
        }
    }

    #[test]
    fn the_last_disruption_turns_the_condition() {
        let mut b = budget(
            json!({"observedGeneration": 1, "disruptionsAllowed": 1, "conditions": [{"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods", "message": "", "lastTransitionTime": "before"}]}),
        );
        take_one(&mut b, "p", "now").unwrap();
        assert_eq!(b["status"]["disruptionsAllowed"], 0);
        assert_eq!(b["status"]["disruptedPods"], json!({"p": "now"}));
        assert_eq!((&b["status"]["conditions"][0]["reason"], &b["status"]["conditions"][0]["lastTransitionTime"]), (&json!("InsufficientPods"), &json!("now")));
    }

    #[test]
    fn unready_pods() {
        let b =
            |policy: &str, healthy: i64| json!({"spec": {"unhealthyPodEvictionPolicy": policy}, "status": {"currentHealthy": healthy, "desiredHealthy": 2}});
        assert!(may_go_unready(&b("AlwaysAllow", 0)) && may_go_unready(&b("IfHealthyBudget", 2)) && !may_go_unready(&b("IfHealthyBudget", 1)));
    }
}
