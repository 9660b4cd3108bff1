//! Affinity to nodes and pods, and the selectors over nodes that volumes use too.
use super::{Options, spread};
use crate::{field::Field, labels, names};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(f: &Field<'_>, options: &Options) {
    let nodes = f.at("nodeAffinity");
    if nodes.at(REQUIRED).exists() {
        node_selector(&nodes.at(REQUIRED), options.any_node_value);
    }
    for term in nodes.at(PREFERRED).items() {
        weight(&term);
        node_term(&term.at("preference"), true);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        for term in f.at(kind).at(REQUIRED).items() {
            pod_term(&term, options.any_selector_value);
        }
        for weighted in f.at(kind).at(PREFERRED).items() {
            weight(&weighted);
            pod_term(&weighted.at("podAffinityTerm"), options.any_selector_value);
        }
    }
}

fn weight(f: &Field<'_>) {
    let w = f.at("weight");
    if !(1..=100).contains(&w.int()) {
        w.invalid(w.int(), "must be in the range 1-100");
    }
}

/// A NodeSelector: at least one term.
pub(crate) fn node_selector(f: &Field<'_>, any_value: bool) {
    let terms = f.at("nodeSelectorTerms");
    if terms.list().is_empty() {
        return terms.required("must have at least one node selector term");
    }
    for t in terms.items() {
        node_term(&t, any_value);
    }
}

fn node_term(t: &Field<'_>, any_value: bool) {
    for e in t.at("matchExpressions").items() {
        node_requirement(&e, any_value);
    }
    for e in t.at("matchFields").items() {
        field_requirement(&e);
    }
}

fn node_requirement(e: &Field<'_>, any_value: bool) {
    let (operator, values) = (e.at("operator"), e.at("values"));
    match (operator.str(), values.len()) {
        ("In" | "NotIn", 0) => values.required("must be specified when `operator` is 'In' or 'NotIn'"),
        ("Exists" | "DoesNotExist", 1..) => values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        ("Gt" | "Lt", n) if n != 1 => values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"),
        ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
        (o, _) => operator.invalid(o, "not a valid selector operator"),
    }
    e.at("key").check(names::qualified_name);
    if !any_value {
        for v in values.items() {
            v.check(names::label_value);
        }
    }
}

fn field_requirement(e: &Field<'_>) {
    let (operator, values, key) = (e.at("operator"), e.at("values"), e.at("key"));
    match operator.str() {
        "In" | "NotIn" if values.len() != 1 => values.required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector"),
        "In" | "NotIn" => {}
        o => operator.invalid(o, "not a valid selector operator"),
    }
    if !key.is("metadata.name") {
        return key.invalid(key.str(), "not a valid field selector key");
    }
    for v in values.items() {
        v.check(names::dns1123_subdomain);
    }
}

fn pod_term(t: &Field<'_>, any_value: bool) {
    let selector = t.at("labelSelector");
    labels::selector(&selector, any_value);
    labels::selector(&t.at("namespaceSelector"), any_value);
    for name in t.at("namespaces").strs() {
        t.at("namespace").check_text(name, names::dns1123_label);
    }
    spread::match_label_keys(t, &selector);
    let key = t.at("topologyKey");
    if key.str().is_empty() {
        key.required("can not be empty");
    }
    key.check(names::qualified_name);
}
