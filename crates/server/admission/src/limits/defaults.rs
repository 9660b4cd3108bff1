//! The defaults of a LimitRange, and the annotation that says what they set.
use crate::value;
use skiff_json::{Map, Value};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub(super) fn fill(range: &Value, pod: &mut Value) {
    let mut notes = Vec::new();
    for (key, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.get_mut("spec").and_then(|s| s.get_mut(key)).and_then(Value::as_array_mut);
        for c in containers.into_iter().flatten() {
            let name = value::text(c, "name").to_owned();
            for (side, from, word) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")] {
                let set = merge(c, side, &defaults(range, from));
                if !set.is_empty() {
                    notes.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if let Some(all) = (!notes.is_empty()).then(|| value::map_mut(pod, "metadata.annotations")).flatten() {
        all.insert(ANNOTATION.to_owned(), format!("LimitRanger plugin set: {}", notes.join("; ")).into());
    }
}

fn defaults(range: &Value, key: &str) -> Map {
    let items = value::list(range, "spec.limits").iter().filter(|l| value::text(l, "type") == "Container");
    items.flat_map(|l| value::map(l, key).into_iter().flatten()).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Sets what is absent; gives the names of it, sorted.
fn merge(container: &mut Value, side: &str, defaults: &Map) -> Vec<String> {
    if defaults.is_empty() {
        return Vec::new();
    }
    let Some(there) = value::map_mut(container, &format!("resources.{side}")) else { return Vec::new() };
    let mut set = Vec::new();
    for (k, q) in defaults {
        if !there.contains_key(k) {
            there.insert(k.clone(), q.clone());
            set.push(k.to_string());
        }
    }
    set.sort();
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn what_is_absent_is_set_and_noted() {
        let range = json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}]}});
        let mut pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "1"}}}]}});
        fill(&range, &mut pod);
        assert_eq!(pod["spec"]["containers"][1]["resources"], json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}));
        let note =
            "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; cpu request for container b; memory limit for container b";
        assert_eq!(pod["metadata"]["annotations"][ANNOTATION], note);
    }
}
