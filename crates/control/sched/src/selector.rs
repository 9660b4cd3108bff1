//! Label selectors and node selectors of typed views.
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Wire;
use skiff_meta::{LabelSelector, Requirement, SetOp};
use std::collections::BTreeMap;

/// None (absent) matches nothing; an unknown operator too.
pub(crate) fn labels(s: Option<&Wire>) -> LabelSelector {
    let Some(s) = s else { return LabelSelector::nothing() };
    let mut out = LabelSelector::everything();
    for (k, v) in s.match_labels.iter().flatten() {
        out.requirements.push(Requirement { key: k.clone(), op: SetOp::In, values: vec![v.clone()] });
    }
    for e in s.match_expressions.iter().flatten() {
        let Some(op) = SetOp::named(&e.operator) else { return LabelSelector::nothing() };
        out.requirements.push(Requirement { key: e.key.clone(), op, values: e.values.clone().unwrap_or_default() });
    }
    out
}

fn holds(r: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let Some(op) = SetOp::named(&r.operator) else { return false };
    Requirement { key: String::new(), op, values: r.values.clone().unwrap_or_default() }.matches(value)
}

/// An empty term matches nothing.
pub(crate) fn term_matches(t: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let (by_label, by_field) = (t.match_expressions.as_deref().unwrap_or_default(), t.match_fields.as_deref().unwrap_or_default());
    if by_label.is_empty() && by_field.is_empty() {
        return false;
    }
    by_label.iter().all(|r| holds(r, labels.get(&r.key).map(String::as_str))) && by_field.iter().all(|r| r.key == "metadata.name" && holds(r, Some(name)))
}
