//! What a node offers: slices of devices, and rules that taint them.
use super::{at_most, bindings, declared, each, policy::policy, pool_name, qualified, taint};
use crate::{field::Field, names, pod::affinity, storage::driver_name};
use std::collections::BTreeSet;

const DEVICES: usize = 128;
const DEVICES_WITH_TAINTS: usize = 64;
const ATTRIBUTES: usize = 32;
const TAINTS: usize = 16;
const VALUE: usize = 64;
const COUNTER_SETS: usize = 8;
const CONSUMPTIONS: usize = 2;
const COUNTERS: usize = 32;

pub(crate) fn slice(v: &Field<'_>) {
    spec(&v.at("spec"), None);
}

pub(crate) fn slice_update(new: &Field<'_>, old: &Field<'_>) {
    spec(&new.at("spec"), Some(&old.inside("spec")));
}

fn spec(spec: &Field<'_>, before: Option<&Field<'_>>) {
    driver_name(&spec.at("driver"));
    pool(&spec.at("pool"));
    if let Some(before) = before {
        let (pool, was) = (spec.at("pool"), before.inside("pool"));
        pool.at("name").immutable(&was.inside("name"));
        for path in ["driver", "nodeName"] {
            spec.at(path).immutable(&before.inside(path));
        }
    }
    nodes(spec);
    let (devices, counters) = (spec.at("devices"), spec.at("sharedCounters"));
    if counters.exists() && devices.exists() {
        spec.invalid("", "only one of `sharedCounters` or `devices` is allowed");
    }
    let costly = devices.items().any(|d| !d.at("taints").is_empty() || !d.at("consumesCounters").is_empty());
    let (each_node, mut seen) = (spec.at("perDeviceNodeSelection").flag(), BTreeSet::new());
    let max = if costly { DEVICES_WITH_TAINTS } else { DEVICES };
    at_most(&devices, max, |d| device(d, each_node));
    for d in devices.items().take(max) {
        let name = d.at("name").str();
        if !seen.insert(name) {
            d.duplicate(name);
        }
    }
    each(&counters, COUNTER_SETS, |c| counted(&c.at("counters")));
    declare(&devices, &counters);
}

/// How many counters there are.
fn counted(counters: &Field<'_>) {
    if counters.len() > COUNTERS {
        counters.too_many(counters.len(), COUNTERS);
    }
}

/// The declared rules, see [`declared`].
fn declare(devices: &Field<'_>, sets: &Field<'_>) {
    for d in devices.items() {
        for (_, attribute) in d.at("attributes").entries() {
            one_value(&attribute);
        }
        let consumed = d.at("consumesCounters");
        if consumed.len() > CONSUMPTIONS {
            consumed.too_many(consumed.len(), CONSUMPTIONS);
        } else {
            named_counters(&consumed, "counterSet");
        }
        d.at("taints").items().for_each(|t| declared::taint(&t));
        declared::bindings(&d);
    }
    if sets.len() > COUNTER_SETS {
        sets.too_many(sets.len(), COUNTER_SETS);
    } else {
        named_counters(sets, "name");
    }
}

/// Sets of counters, told apart by their member `name`.
fn named_counters(list: &Field<'_>, name: &'static str) {
    declared::unique(list, |c| c.at(name).str().to_owned());
    for c in list.items() {
        if c.at(name).str().is_empty() {
            c.at(name).required("");
        } else {
            c.at(name).check(names::short_name);
        }
        let counters = c.at("counters");
        if counters.is_empty() {
            counters.required("");
        }
        counters.entries().for_each(|(key, _)| counters.check_text(key, names::short_name));
    }
}

fn pool(p: &Field<'_>) {
    pool_name(&p.at("name"));
    p.at("resourceSliceCount").positive();
    if p.at("generation").int() < 0 {
        p.at("generation").invalid(p.at("generation").int(), "must be greater than or equal to zero");
    }
}

/// Which nodes can use the devices: said in one way.
fn nodes(spec: &Field<'_>) {
    let mut said = Vec::new();
    let name = spec.at("nodeName");
    match name.text() {
        Some("") => name.invalid("", "must be either unset or set to a non-empty string"),
        Some(_) => {
            said.push("`nodeName`");
            name.check(names::dns1123_subdomain);
        }
        None => {}
    }
    let selector = spec.at("nodeSelector");
    if selector.exists() {
        said.push("`nodeSelector`");
        affinity::node_selector(&selector, false);
        if selector.at("nodeSelectorTerms").len() != 1 {
            selector.at("nodeSelectorTerms").invalid(selector.at("nodeSelectorTerms").value(), "must have exactly one node selector term");
        }
    }
    for (path, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        match spec.at(path).switch() {
            Some(true) => said.push(shown),
            Some(false) => spec.at(path).invalid(false, "must be either unset or set to true"),
            None => {}
        }
    }
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match said.len() {
        0 => spec.required(ONE),
        1 => {}
        _ => spec.invalid(format!("{{{}}}", said.join(", ")).as_str(), &format!("{ONE}, but multiple fields are set")),
    }
}

fn device(d: &Field<'_>, each_node: bool) {
    d.at("name").check(names::dns1123_label);
    let (attributes, capacity) = (d.at("attributes"), d.at("capacity"));
    let all = attributes.len() + capacity.len();
    if all > ATTRIBUTES {
        d.invalid(all as i64, &format!("the total number of attributes and capacities must not exceed {ATTRIBUTES}"));
    }
    for (key, attribute) in attributes.entries() {
        qualified(&attributes, key);
        value(&attribute);
    }
    let shared = d.at("allowMultipleAllocations").flag();
    for (key, c) in capacity.entries() {
        qualified(&capacity, key);
        if c.at("requestPolicy").exists() && !shared {
            c.at("requestPolicy").forbidden("allowMultipleAllocations must be true");
        } else {
            policy(&c);
        }
    }
    at_most(&d.at("taints"), TAINTS, taint);
    each(&d.at("consumesCounters"), CONSUMPTIONS, |c| counted(&c.at("counters")));
    place(d, each_node);
    bindings(d);
}

/// Which nodes can use a device, where each device says that for itself.
fn place(d: &Field<'_>, each_node: bool) {
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    let (name, selector, all) = (d.at("nodeName"), d.at("nodeSelector"), d.at("allNodes"));
    if !each_node {
        if name.exists() || selector.exists() || all.exists() {
            d.invalid(
                &skiff_json::Value::Null,
                "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            );
        }
        return;
    }
    let mut said = Vec::new();
    match name.text() {
        Some("") => name.invalid("", "must not be empty"),
        Some(_) => {
            said.push("`nodeName`");
            name.check(names::dns1123_subdomain);
        }
        None => {}
    }
    if selector.exists() {
        said.push("`nodeSelector`");
        affinity::node_selector(&selector, false);
    }
    match all.switch() {
        Some(true) => said.push("`allNodes`"),
        Some(false) => all.invalid(false, "must be either unset or set to true"),
        None => {}
    }
    match said.len() {
        0 => d.required(ONE),
        1 => {}
        _ => d.invalid(format!("{{{}}}", said.join(", ")).as_str(), ONE),
    }
}

fn value(a: &Field<'_>) {
    let (text, version) = (a.at("string"), a.at("version"));
    if text.str().len() > VALUE {
        text.too_long(VALUE);
    }
    if version.exists() && !semantic_version(version.str()) {
        version.invalid(version.str(), "must be a string compatible with semver.org spec 2.0.0");
    }
    if version.str().len() > VALUE {
        version.too_long(VALUE);
    }
}

/// An attribute has one value.
fn one_value(a: &Field<'_>) {
    const KINDS: [&str; 8] = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"];
    let set: Vec<&str> = KINDS.into_iter().filter(|k| a.inside(k).exists()).collect();
    let all = || KINDS.map(|k| format!("`{k}`")).join(", ");
    match set.len() {
        1 => {}
        0 => a.invalid("", &format!("must specify one of: {}", all())),
        _ => a.invalid(format!("{{{}}}", set.join(", ")).as_str(), &format!("must specify exactly one of: {}", all())),
    }
}

/// <https://semver.org/spec/v2.0.0.html>
fn semantic_version(text: &str) -> bool {
    let (rest, build) = text.split_once('+').map_or((text, None), |(r, b)| (r, Some(b)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(c, p)| (c, Some(p)));
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s == "0" || !s.starts_with('0'));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|p| p.split('.').all(|s| word(s) && (!digits(s) || number(s))))
        && build.is_none_or(|b| b.split('.').all(word))
}

pub(crate) fn taint_rule(v: &Field<'_>) {
    let (selector, spec) = (v.at("spec").at("deviceSelector"), v.at("spec"));
    if selector.at("driver").exists() {
        driver_name(&selector.at("driver"));
    }
    if selector.at("pool").exists() {
        pool_name(&selector.at("pool"));
    }
    if selector.at("device").exists() {
        selector.at("device").check(names::dns1123_label);
    }
    taint(&spec.at("taint"));
    declared::taint(&spec.at("taint"));
}

const CONDITIONS: usize = 8;

pub(crate) fn taint_rule_status(new: &Field<'_>, _: &Field<'_>) {
    let conditions = new.at("status").at("conditions");
    crate::small::conditions(&conditions);
    if conditions.len() > CONDITIONS {
        conditions.too_many(conditions.len(), CONDITIONS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(devices: skiff_json::Value, each_node: bool) -> Vec<String> {
        let mut slice = skiff_json::json!({"spec": {"driver": "d.example", "pool": {"name": "p", "resourceSliceCount": 1}, "devices": devices}});
        slice["spec"][if each_node { "perDeviceNodeSelection" } else { "allNodes" }] = true.into();
        crate::validate_create("resource.k8s.io", "ResourceSlice", &slice).into_iter().map(|c| c.field).collect()
    }
    #[test]
    fn devices_say_their_own_place() {
        use skiff_json::json;
        for (device, each_node, wrong) in [
            (json!({"name": "x"}), false, &[][..]),
            (json!({"name": "x", "allNodes": true}), false, &["spec.devices[0]"]),
            (json!({"name": "x", "allNodes": true}), true, &[]),
            (json!({"name": "x"}), true, &["spec.devices[0]"]),
            (json!({"name": "x", "allNodes": true, "nodeName": "n"}), true, &["spec.devices[0]"]),
            (
                json!({"name": "x", "allowMultipleAllocations": true, "capacity": {"c": {"value": "1", "requestPolicy": {"validRange": {"min": "1"}}}}}),
                false,
                &["spec.devices[0].capacity[c].requestPolicy.default"],
            ),
            (json!({"name": "x", "bindingConditions": ["a"]}), false, &["spec.devices[0].bindingFailureConditions"]),
            (json!({"name": "x", "bindingConditions": ["a"], "bindingFailureConditions": ["a"]}), false, &["spec.devices[0].bindingFailureConditions[0]"]),
            (
                json!({"name": "x", "consumesCounters": [{"counterSet": "C", "counters": {"K": {}}}]}),
                false,
                &["spec.devices[0].consumesCounters[0].counterSet", "spec.devices[0].consumesCounters[0].counters"],
            ),
        ] {
            assert_eq!(told(json!([device]), each_node), wrong, "{device}");
        }
    }
    #[test]
    fn versions() {
        for (text, good) in [("1.2.3", true), ("1.2.3-a.1+b", true), ("1.2", false), ("01.2.3", false), ("1.2.3-01", false)] {
            assert_eq!(semantic_version(text), good, "{text}");
        }
    }
}
