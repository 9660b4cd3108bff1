//! A pod for a node: tolerations, the pin, the revision's hash.
use skiff_json::{Value, json};

pub(super) const HASH: &str = "controller-revision-hash";
const GENERATION: &str = "pod-template-generation";

/// The template with what every daemon pod tolerates: node troubles do not evict it, pressure does not keep it off.
pub fn tolerant(template: &Value) -> Value {
    let mut t = template.clone();
    let host_network = t["spec"]["hostNetwork"] == true;
    let always = [
        ("node.kubernetes.io/not-ready", "NoExecute", true),
        ("node.kubernetes.io/unreachable", "NoExecute", true),
        ("node.kubernetes.io/disk-pressure", "NoSchedule", true),
        ("node.kubernetes.io/memory-pressure", "NoSchedule", true),
        ("node.kubernetes.io/pid-pressure", "NoSchedule", true),
        ("node.kubernetes.io/unschedulable", "NoSchedule", true),
        ("node.kubernetes.io/network-unavailable", "NoSchedule", host_network),
    ];
    let mut all: Vec<Value> = t["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    for (key, effect, wanted) in always {
        let new = json!({"key": key, "operator": "Exists", "effect": effect});
        if !wanted {
            continue;
        }
        match all.iter_mut().find(|x| x["key"] == key && x["effect"] == effect && x["operator"] == "Exists") {
            Some(x) => *x = new,
            None => all.push(new),
        }
    }
    t["spec"]["tolerations"] = all.into();
    t
}

/// Labels that tell which revision a pod is of.
pub fn marked(mut template: Value, hash: &str, generation: Option<&str>) -> Value {
    template["metadata"]["labels"][HASH] = hash.into();
    if let Some(g) = generation {
        template["metadata"]["labels"][GENERATION] = g.into();
    }
    template
}

/// The template for one node: its required node affinity names the node and nothing else.
pub fn pinned(template: &Value, node: &str) -> Value {
    let mut t = template.clone();
    let field = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    // What the template's own terms said was judged when the node was chosen.
    t["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] = json!([{"matchFields": field}]);
    t
}

/// The node that a pod is for: where it is, or where it is pinned to.
pub fn node_of(pod: &crate::pod::Pod) -> Option<&str> {
    if !pod.spec.node_name.is_empty() {
        return Some(&pod.spec.node_name);
    }
    let terms = pod.spec.affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].as_array()?;
    let fields = terms.iter().filter_map(|t| t["matchFields"].as_array()).flatten();
    fields.filter(|f| f["key"] == "metadata.name" && f["operator"] == "In").find_map(|f| match f["values"].as_array()?.as_slice() {
        [one] => one.as_str(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn pods_are_pinned_and_tolerant() {
        let t = tolerant(&json!({"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}));
        assert_eq!(t["spec"]["tolerations"].as_array().unwrap().len(), 7);
        assert_eq!(tolerant(&t), t);
        let p = json!({"metadata": {}, "spec": pinned(&json!({"spec": {}}), "n1")["spec"]});
        assert_eq!(node_of(&skiff_json::from_value(p).unwrap()), Some("n1"));
        assert_eq!(marked(json!({}), "h", Some("3"))["metadata"]["labels"], json!({HASH: "h", GENERATION: "3"}));
    }
}
