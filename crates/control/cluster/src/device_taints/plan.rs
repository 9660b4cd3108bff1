//! Who must go because of tainted devices, when, and what a rule's status says about it. Pure.
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{DeviceRequestAllocationResult, DeviceTaint, DeviceTaintRule, DeviceToleration, ResourceClaim, ResourceSlice};
use std::collections::BTreeSet;

pub(super) const CONDITION: &str = "EvictionInProgress";
pub(super) const NO_EFFECT: &str = "NoEffect";
const NO_EXECUTE: &str = "NoExecute";

/// The present state that evictions depend on.
pub(super) struct World {
    pub claims: Vec<ResourceClaim>,
    pub slices: Vec<ResourceSlice>,
    pub rules: Vec<DeviceTaintRule>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Eviction {
    /// Seconds since 1970.
    pub at: i64,
    /// Uids of the rules that have a part in it.
    pub rules: BTreeSet<String>,
}

/// What a rule's condition says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub pending: bool,
    pub reason: &'static str,
    pub message: String,
}

fn selects(rule: &DeviceTaintRule, driver: &str, pool: &str, device: &str) -> bool {
    let fits = |own: &Option<String>, of: &str| own.as_deref().is_none_or(|o| o == of);
    rule.spec.device_selector.as_ref().is_some_and(|s| fits(&s.driver, driver) && fits(&s.pool, pool) && fits(&s.device, device))
}

/// Slices of their pool's newest generation.
fn newest(slices: &[ResourceSlice]) -> impl Iterator<Item = &ResourceSlice> {
    let same = |a: &ResourceSlice, b: &ResourceSlice| a.spec.driver == b.spec.driver && a.spec.pool.name == b.spec.pool.name;
    slices.iter().filter(move |s| slices.iter().filter(|o| same(o, s)).all(|o| o.spec.pool.generation <= s.spec.pool.generation))
}

fn tolerates(t: &DeviceToleration, taint: &DeviceTaint) -> bool {
    let key_fits = t.key.as_deref().is_none_or(|k| k.is_empty() || k == taint.key);
    let value_fits = t.operator.as_deref() == Some("Exists") || t.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    t.effect.as_deref() == Some(NO_EXECUTE) && key_fits && value_fits
}

/// When a device with this taint must be left; None when the request tolerates it for ever.
fn leave(r: &DeviceRequestAllocationResult, taint: &DeviceTaint) -> Option<i64> {
    let added = taint.time_added.as_ref().map_or(0, |t| t.0.as_second());
    let mut patience: Option<i64> = None;
    for t in r.tolerations.iter().flatten().filter(|t| tolerates(t, taint)) {
        let seconds = t.toleration_seconds?.max(0);
        patience = Some(patience.map_or(seconds, |p| p.min(seconds)));
    }
    Some(added.saturating_add(patience.unwrap_or(0)))
}

/// The eviction that one claim's devices call for. `supposed`: a rule that is taken to evict, whatever its effect is.
fn of_claim(claim: &ResourceClaim, world: &World, supposed: Option<&DeviceTaintRule>) -> Option<Eviction> {
    let mut found: Option<Eviction> = None;
    let mut note = |at: Option<i64>, rule: Option<&DeviceTaintRule>| {
        let Some(at) = at else { return };
        let e = found.get_or_insert(Eviction { at, rules: BTreeSet::new() });
        e.at = e.at.min(at);
        e.rules.extend(rule.and_then(|r| r.metadata.uid.clone()));
    };
    for r in claim.status.as_ref()?.allocation.as_ref()?.devices.iter().flat_map(|d| d.results.iter().flatten()) {
        let same_pool = newest(&world.slices).filter(|s| s.spec.driver == r.driver && s.spec.pool.name == r.pool);
        let device = same_pool.flat_map(|s| s.spec.devices.iter().flatten()).find(|d| d.name == r.device);
        for taint in device.iter().flat_map(|d| d.taints.iter().flatten()).filter(|t| t.effect == NO_EXECUTE) {
            note(leave(r, taint), None);
        }
        let evicting = world.rules.iter().filter(|x| x.spec.taint.effect == NO_EXECUTE).chain(supposed);
        for rule in evicting.filter(|x| selects(x, &r.driver, &r.pool, &r.device)) {
            let taint = DeviceTaint { effect: NO_EXECUTE.into(), ..rule.spec.taint.clone() };
            note(leave(r, &taint), Some(rule));
        }
    }
    found
}

fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let known: Vec<_> = pod.status.iter().flat_map(|s| s.resource_claim_statuses.iter().flatten()).collect();
    let entries = pod.spec.iter().flat_map(|s| s.resource_claims.iter().flatten());
    entries.filter_map(move |e| e.resource_claim_name.as_deref().or_else(|| known.iter().find(|s| s.name == e.name)?.resource_claim_name.as_deref()))
}

/// When the pod must go: the earliest of its claims, with the rules of all.
pub(super) fn eviction(pod: &Pod, world: &World, supposed: Option<&DeviceTaintRule>) -> Option<Eviction> {
    let placed = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).is_some_and(|n| !n.is_empty());
    let (namespace, uid) = (pod.metadata.namespace.as_deref(), pod.metadata.uid.as_deref().unwrap_or_default());
    let reserved = |c: &&ResourceClaim| c.status.iter().flat_map(|s| s.reserved_for.iter().flatten()).any(|r| r.uid == uid);
    let claims = claims_of(pod).filter(|_| placed).filter_map(|name| {
        let same = |c: &&ResourceClaim| c.metadata.name.as_deref() == Some(name) && c.metadata.namespace.as_deref() == namespace;
        world.claims.iter().find(same).filter(reserved)
    });
    claims.filter_map(|c| of_claim(c, world, supposed)).reduce(|mut a, b| {
        a.at = a.at.min(b.at);
        a.rules.extend(b.rules);
        a
    })
}

fn several(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// Pods that the rule evicts, and their namespaces.
fn pending(rule: &DeviceTaintRule, world: &World, pods: &[Pod], supposed: Option<&DeviceTaintRule>) -> (usize, usize) {
    let uid = rule.metadata.uid.as_deref().unwrap_or_default();
    let hit = |p: &&Pod| p.metadata.deletion_timestamp.is_none() && eviction(p, world, supposed).is_some_and(|e| e.rules.contains(uid));
    let hits: Vec<&Pod> = pods.iter().filter(hit).collect();
    let namespaces: BTreeSet<_> = hits.iter().map(|p| p.metadata.namespace.as_deref()).collect();
    (hits.len(), namespaces.len())
}

/// `evicted`: pods that went because of the rule since this process began.
pub(super) fn finding(rule: &DeviceTaintRule, world: &World, pods: &[Pod], evicted: u64) -> Finding {
    let mut f = match rule.spec.taint.effect.as_str() {
        NO_EXECUTE => match pending(rule, world, pods, None) {
            (0, _) => Finding { pending: false, reason: if evicted > 0 { "Completed" } else { "NotStarted" }, message: String::new() },
            (pods, namespaces) => {
                let message =
                    format!("{} to be evicted in {}.", several(pods, "pod needs", "pods need"), several(namespaces, "namespace", "different namespaces"));
                Finding { pending: true, reason: "PodsPendingEviction", message }
            }
        },
        "None" => Finding { pending: false, reason: NO_EFFECT, message: without_effect(rule, world, pods) },
        _ => Finding { pending: false, reason: "OtherEffect", message: "Eviction only happens for the NoExecute effect.".into() },
    };
    if evicted > 0 {
        let lead = if f.message.is_empty() { "" } else { " " };
        f.message += &format!("{lead}{} evicted since starting the controller.", several(evicted as usize, "pod", "pods"));
    }
    f
}

fn without_effect(rule: &DeviceTaintRule, world: &World, pods: &[Pod]) -> String {
    let published = newest(&world.slices)
        .flat_map(|s| s.spec.devices.iter().flatten().map(move |d| (s, d)))
        .filter(|(s, d)| selects(rule, &s.spec.driver, &s.spec.pool.name, &d.name))
        .count();
    let results = world.claims.iter().filter_map(|c| c.status.as_ref()?.allocation.as_ref()?.devices.as_ref()).flat_map(|d| d.results.iter().flatten());
    let allocated = results.filter(|r| selects(rule, &r.driver, &r.pool, &r.device)).count();
    let (pods, namespaces) = pending(rule, world, pods, Some(rule));
    format!(
        "{} selected. {} selected. {} be evicted in {} if the effect was NoExecute. This information will not be updated again. Recreate the DeviceTaintRule to trigger an update.",
        several(published, "published device", "published devices"),
        several(allocated, "allocated device", "allocated devices"),
        several(pods, "pod would", "pods would"),
        several(namespaces, "namespace", "different namespaces"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::{Value, json};

    fn world(tolerations: Value, taints: Value, rules: Value) -> World {
        let claim = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {}, "status": {"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}],
            "allocation": {"devices": {"results": [{"request": "r", "driver": "d", "pool": "x", "device": "gpu", "tolerations": tolerations}]}}}});
        let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "d", "pool": {"name": "x", "generation": 1, "resourceSliceCount": 1}, "devices": [{"name": "gpu", "taints": taints}]}});
        World {
            claims: skiff_json::from_value(json!([claim])).unwrap(),
            slices: skiff_json::from_value(json!([slice])).unwrap(),
            rules: skiff_json::from_value(rules).unwrap(),
        }
    }
    fn pod() -> Pod {
        skiff_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": [], "nodeName": "k", "resourceClaims": [{"name": "e", "resourceClaimName": "c"}]}})).unwrap()
    }
    fn rule(effect: &str) -> Value {
        json!({"metadata": {"name": "r", "uid": "rule"}, "spec": {"deviceSelector": {"driver": "d"}, "taint": {"key": "k", "effect": effect, "timeAdded": "1970-01-01T00:01:40Z"}}})
    }

    #[test]
    fn when_a_pod_must_go() {
        let by_slice = json!([{"key": "k", "effect": "NoExecute", "timeAdded": "1970-01-01T00:00:10Z"}]);
        let forever = json!([{"key": "k", "operator": "Exists", "effect": "NoExecute"}]);
        let some = json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}]);
        for (tolerations, taints, rules, want) in [
            (json!([]), json!([]), json!([]), None),
            (json!([]), by_slice.clone(), json!([]), Some((10, 0))),
            (forever, by_slice.clone(), json!([rule("NoExecute")]), None),
            (some, by_slice.clone(), json!([]), Some((40, 0))),
            (json!([]), json!([]), json!([rule("NoExecute")]), Some((100, 1))),
            (json!([]), by_slice, json!([rule("NoExecute")]), Some((10, 1))),
            (json!([]), json!([]), json!([rule("NoSchedule")]), None),
        ] {
            let found = eviction(&pod(), &world(tolerations, taints, rules.clone()), None);
            assert_eq!(found.map(|e| (e.at, e.rules.len())), want, "{rules}");
        }
    }

    #[test]
    fn what_a_rule_says() {
        for (effect, evicted, want) in [
            ("NoExecute", 0, ("PodsPendingEviction", "1 pod needs to be evicted in 1 namespace.")),
            ("NoSchedule", 0, ("OtherEffect", "Eviction only happens for the NoExecute effect.")),
            ("NoExecute", 2, ("PodsPendingEviction", "1 pod needs to be evicted in 1 namespace. 2 pods evicted since starting the controller.")),
            (
                "None",
                0,
                (
                    "NoEffect",
                    "1 published device selected. 1 allocated device selected. 1 pod would be evicted in 1 namespace if the effect was NoExecute. This information will not be updated again. Recreate the DeviceTaintRule to trigger an update.",
                ),
            ),
        ] {
            let w = world(json!([]), json!([]), json!([rule(effect)]));
            let f = finding(&w.rules[0], &w, &[pod()], evicted);
            assert_eq!((f.reason, f.message.as_str()), want);
        }
        let w = world(json!([]), json!([]), json!([rule("NoExecute")]));
        assert_eq!((finding(&w.rules[0], &w, &[], 0).reason, finding(&w.rules[0], &w, &[], 1).reason), ("NotStarted", "Completed"));
    }
}
