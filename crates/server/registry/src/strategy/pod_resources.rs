//! Resources of a whole pod: what a new pod that names some of them gets from its containers. Runs after admission, so it
//! sees every container that a webhook put in.
use crate::value::{list, remove, set};
use skiff_json::{Map, Value};
use skiff_meta::Quantity;
use std::collections::BTreeMap;

type Amounts = BTreeMap<String, Quantity>;

fn huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// What a pod can have as a whole.
fn supported(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || huge(name)
}

fn amounts(resources: Option<&Value>, side: &str) -> Amounts {
    let all = resources.and_then(|r| r.get(side)).and_then(Value::as_object);
    all.into_iter().flatten().filter_map(|(k, v)| Some((k.to_string(), v.as_str()?.parse().ok()?))).collect()
}

fn add(to: &mut Amounts, more: &Amounts) {
    for (name, q) in more {
        let sum = to.get(name).copied().map_or(*q, |have| have + *q);
        to.insert(name.clone(), sum);
    }
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, q) in least {
        let have = to.entry(name.clone()).or_insert(*q);
        *have = (*have).max(*q);
    }
}

/// What the containers use at once: those that run side by side together, or the largest that runs before them.
fn of_containers(pod: &Value, side: &str) -> Amounts {
    let (mut total, mut sidecars, mut before) = (Amounts::new(), Amounts::new(), Amounts::new());
    for c in list(pod, "spec.containers") {
        add(&mut total, &amounts(c.get("resources"), side));
    }
    for c in list(pod, "spec.initContainers") {
        let mut own = amounts(c.get("resources"), side);
        if c.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut before, &own);
    }
    raise(&mut total, &before);
    total
}

/// Fills in the pod's own requests and limits where it names some.
pub fn fill(pod: &mut Value) {
    let own = pod.pointer("/spec/resources");
    let (had_requests, had_limits) = (amounts(own, "requests"), amounts(own, "limits"));
    if had_requests.is_empty() && had_limits.is_empty() {
        return;
    }
    let (asked, most) = (of_containers(pod, "requests"), of_containers(pod, "limits"));
    let (mut requests, mut limits) = (had_requests.clone(), had_limits.clone());
    for (name, q) in most.iter().filter(|(n, _)| huge(n) && !had_requests.contains_key(*n)) {
        limits.entry(name.clone()).or_insert(*q);
    }
    let shared = asked.iter().filter(|(n, _)| supported(n) && !huge(n));
    for (name, q) in shared.chain(limits.iter().filter(|(n, _)| supported(n))) {
        requests.entry(name.clone()).or_insert(*q);
    }
    let everywhere = |name: &str| {
        ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"]
            .iter()
            .flat_map(|l| list(pod, l))
            .all(|c| amounts(c.get("resources"), "limits").contains_key(name))
    };
    for (name, q) in requests.iter().filter(|(n, _)| supported(n)) {
        if !limits.contains_key(name)
            && everywhere(name)
            && let Some(limit) = most.get(name)
        {
            limits.insert(name.clone(), (*limit).max(*q));
        }
    }
    write(pod, "requests", &had_requests, &requests);
    write(pod, "limits", &had_limits, &limits);
}

/// Adds what is new; what was there keeps its spelling.
fn write(pod: &mut Value, side: &str, had: &Amounts, all: &Amounts) {
    if had.len() == all.len() {
        return;
    }
    let path = format!("spec.resources.{side}");
    let mut map: Map = pod.pointer(&format!("/spec/resources/{side}")).and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, q) in all.iter().filter(|(n, _)| !had.contains_key(*n)) {
        map.insert(name.clone(), q.to_string().into());
    }
    map.sort_keys();
    remove(pod, &path);
    set(pod, &path, map);
}

/// A client that does not know the field leaves it out; it stays.
pub fn keep(pod: &mut Value, old: &Value) {
    if pod.pointer("/spec/resources").is_none_or(Value::is_null)
        && let Some(own) = old.pointer("/spec/resources").filter(|r| !r.is_null())
    {
        set(pod, "spec.resources", own.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn pods_get_what_their_containers_use() {
        let containers = json!([{"resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}}, {"resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}}}]);
        let init = json!([{"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}}, {"resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}}]);
        for (own, want) in [
            (json!({}), json!({})),
            (json!({"requests": {"memory": "8Gi"}}), json!({"requests": {"cpu": "1100m", "memory": "8Gi"}, "limits": {"memory": "8Gi"}})),
            (json!({"limits": {"cpu": "2"}}), json!({"requests": {"cpu": "1100m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "3Gi"}})),
            (
                json!({"limits": {"hugepages-2Mi": "4Mi"}}),
                json!({"requests": {"cpu": "1100m", "hugepages-2Mi": "4Mi", "memory": "1Gi"}, "limits": {"hugepages-2Mi": "4Mi", "memory": "3Gi"}}),
            ),
        ] {
            let mut pod = json!({"spec": {"containers": containers, "initContainers": init, "resources": own}});
            fill(&mut pod);
            assert_eq!(pod["spec"]["resources"], want, "{own}");
        }
    }
    #[test]
    fn what_is_left_out_stays() {
        let old = json!({"spec": {"resources": {"limits": {"cpu": "1"}}}});
        for (new, want) in [(json!({"spec": {}}), &old["spec"]["resources"]), (json!({"spec": {"resources": {}}}), &json!({}))] {
            let mut new = new;
            keep(&mut new, &old);
            assert_eq!(&new["spec"]["resources"], want);
        }
    }
}
