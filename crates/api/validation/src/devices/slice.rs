//! What a node offers: slices of devices, and rules that taint them.
use super::{each, pool_name, qualified, set, taint};
use crate::{field::Field, names, pod::affinity, storage::driver_name};

const DEVICES: usize = 128;
const DEVICES_WITH_TAINTS: usize = 64;
const ATTRIBUTES: usize = 32;
const TAINTS: usize = 16;
const VALUE: usize = 64;

pub(crate) fn slice(v: &Field<'_>) {
    let spec = v.at("spec");
    driver_name(&spec.at("driver"));
    pool(&spec.at("pool"));
    nodes(&spec);
    if spec.at("sharedCounters").exists() && spec.at("devices").exists() {
        spec.invalid("", "only one of `sharedCounters` or `devices` is allowed");
    }
    let tainted = spec.at("devices").items().any(|d| !d.at("taints").is_empty() || !d.at("consumesCounters").is_empty());
    set(&spec.at("devices"), if tainted { DEVICES_WITH_TAINTS } else { DEVICES }, |d| d.at("name").str().to_owned(), device);
}

pub(crate) fn slice_update(new: &Field<'_>, old: &Field<'_>) {
    slice(new);
    for path in ["pool.name", "driver", "nodeName"] {
        new.at("spec").at(path).immutable(&old.inside("spec").inside(path));
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

fn device(d: &Field<'_>) {
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
        }
    }
    each(&d.at("taints"), TAINTS, taint);
}

/// An attribute has one value.
fn value(a: &Field<'_>) {
    const KINDS: [&str; 8] = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"];
    for key in ["string", "version"] {
        let text = a.at(key);
        if key == "version" && text.exists() && !semantic_version(text.str()) {
            text.invalid(text.str(), "must be a string compatible with semver.org spec 2.0.0");
        }
        if text.str().len() > VALUE {
            text.too_long(VALUE);
        }
    }
    match KINDS.iter().filter(|k| a.inside(k).exists()).count() {
        1 => {}
        0 => a.invalid("", &format!("must specify one of: {}", KINDS.map(|k| format!("`{k}`")).join(", "))),
        _ => {
            let set: Vec<&str> = KINDS.into_iter().filter(|k| a.inside(k).exists()).collect();
            a.invalid(format!("{{{}}}", set.join(", ")).as_str(), &format!("must specify exactly one of: {}", KINDS.map(|k| format!("`{k}`")).join(", ")));
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, good) in [("1.2.3", true), ("1.2.3-a.1+b", true), ("1.2", false), ("01.2.3", false), ("1.2.3-01", false)] {
            assert_eq!(semantic_version(text), good, "{text}");
        }
    }
}
