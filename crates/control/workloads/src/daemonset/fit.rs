//! Whether a node suits a DaemonSet's pods: node name, selector, affinity, taints.
use super::view::{DaemonSet, Node, Taint};
use skiff_json::Value;
use skiff_meta::{LabelSelector, Requirement, SetOp};

/// A pod should be made there; one that is there may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    pub run: bool,
    pub stay: bool,
}

/// `tolerations` are those of the pods, the added ones included.
pub fn fit(ds: &DaemonSet, tolerations: &Value, node: &Node) -> Fit {
    let spec = &ds.spec.template["spec"];
    let named = spec["nodeName"].as_str().unwrap_or_default();
    let selected = selector(&spec["nodeSelector"]).matches(&node.metadata.labels);
    if !(named.is_empty() || named == node.metadata.name) || !selected || !affine(spec, node) {
        return Fit { run: false, stay: false };
    }
    let untolerated = |effects: &[&str]| node.spec.taints.iter().any(|t| effects.contains(&t.effect.as_str()) && !tolerated(tolerations, t));
    Fit { run: !untolerated(&["NoExecute", "NoSchedule"]), stay: !untolerated(&["NoExecute"]) }
}

fn selector(v: &Value) -> LabelSelector {
    LabelSelector::from_map(v.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default())))
}

fn tolerated(tolerations: &Value, taint: &Taint) -> bool {
    tolerations.as_array().into_iter().flatten().any(|t| {
        let text = |field: &str| t[field].as_str().unwrap_or_default();
        let effect = text("effect").is_empty() || text("effect") == taint.effect;
        let key = text("key").is_empty() || text("key") == taint.key;
        let number = |s: &str| s.parse::<i64>().ok();
        let value = match text("operator") {
            "Exists" => true,
            "Gt" => matches!((number(&taint.value), number(text("value"))), (Some(a), Some(b)) if a > b),
            "Lt" => matches!((number(&taint.value), number(text("value"))), (Some(a), Some(b)) if a < b),
            _ => !text("key").is_empty() && text("value") == taint.value,
        };
        effect && key && value
    })
}

/// Any of the required terms holds; a term without expressions never does.
fn affine(spec: &Value, node: &Node) -> bool {
    let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let Some(terms) = terms.as_array() else { return true };
    terms.iter().any(|t| {
        let list = |field: &str| t[field].as_array().cloned().unwrap_or_default();
        let (labels, fields) = (list("matchExpressions"), list("matchFields"));
        let by_label = |e: &Value| requirement(e).is_some_and(|r| r.matches(node.metadata.label(&r.key)));
        let by_field = |e: &Value| requirement(e).is_some_and(|r| r.key == "metadata.name" && r.matches(Some(&node.metadata.name)));
        !(labels.is_empty() && fields.is_empty()) && labels.iter().all(by_label) && fields.iter().all(by_field)
    })
}

fn requirement(e: &Value) -> Option<Requirement> {
    let op = SetOp::named(e["operator"].as_str()?)?;
    let values = e["values"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
    Some(Requirement { key: e["key"].as_str()?.to_owned(), op, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemonset::template::tolerant;
    use skiff_json::json;

    fn fits(spec: Value, node: Value) -> (bool, bool) {
        let template = json!({"spec": spec});
        let ds: DaemonSet = skiff_json::from_value(json!({"spec": {"template": template}})).unwrap();
        let f = fit(&ds, &tolerant(&template)["spec"]["tolerations"], &skiff_json::from_value(node).unwrap());
        (f.run, f.stay)
    }
    fn tainted(key: &str, effect: &str) -> Value {
        json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": key, "value": "v", "effect": effect}]}})
    }

    #[test]
    fn nodes_suit_or_not() {
        let plain = json!({"metadata": {"name": "n1", "labels": {"disk": "ssd"}}});
        let term = |t: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [t]}}}});
        for (spec, node, expected) in [
            (json!({}), plain.clone(), (true, true)),
            (json!({"nodeSelector": {"disk": "ssd"}}), plain.clone(), (true, true)),
            (json!({"nodeSelector": {"disk": "hdd"}}), plain.clone(), (false, false)),
            (json!({"nodeName": "n2"}), plain.clone(), (false, false)),
            (term(json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]})), plain.clone(), (true, true)),
            (term(json!({"matchExpressions": [{"key": "gpu", "operator": "Exists"}]})), plain.clone(), (false, false)),
            (term(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]})), plain.clone(), (true, true)),
            (term(json!({})), plain.clone(), (false, false)),
            (json!({}), tainted("x", "NoSchedule"), (false, true)),
            (json!({}), tainted("x", "NoExecute"), (false, false)),
            (json!({}), tainted("x", "PreferNoSchedule"), (true, true)),
            (json!({"tolerations": [{"operator": "Exists"}]}), tainted("x", "NoExecute"), (true, true)),
            (json!({"tolerations": [{"key": "x", "value": "v"}]}), tainted("x", "NoExecute"), (true, true)),
            (json!({"tolerations": [{"key": "x", "value": "w"}]}), tainted("x", "NoExecute"), (false, false)),
            (json!({}), tainted("node.kubernetes.io/unschedulable", "NoSchedule"), (true, true)),
            (json!({}), tainted("node.kubernetes.io/not-ready", "NoExecute"), (true, true)),
        ] {
            assert_eq!(fits(spec.clone(), node.clone()), expected, "{spec} {node}");
        }
    }
}
