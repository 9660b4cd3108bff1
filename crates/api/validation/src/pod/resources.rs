//! Amounts of resources: names, quantities, requests within limits.
use super::Options;
use crate::{field::Field, names};
use skiff_meta::Quantity;
use std::collections::BTreeMap;

const HUGE: &str = "hugepages-";

fn amount(text: &str) -> Quantity {
    text.parse().unwrap_or_default()
}

/// Whether names without a domain, and those of Kubernetes' own domain, mean something to Kubernetes itself.
pub(crate) fn native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}
fn extended(name: &str) -> bool {
    !native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}
fn overcommits(name: &str) -> bool {
    native(name) && !name.starts_with(HUGE)
}

const COMPUTE: [&str; 9] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn huge(name: &str) -> bool {
    name.starts_with(HUGE) || name.starts_with("requests.hugepages-")
}
fn standard(name: &str) -> bool {
    COMPUTE.contains(&name) || COUNTED.contains(&name) || matches!(name, "storage" | "requests.storage") || huge(name)
}
/// A resource that quotas of the standard kind count.
pub(crate) fn standard_for_quota(name: &str) -> bool {
    (standard(name) && name != "storage") || huge(name)
}

/// A name of a resource: standard, or with a domain.
pub(crate) fn name(f: &Field<'_>, name: &str) -> bool {
    let mark = f.mark();
    f.check_text(name, names::qualified_name);
    if f.clean_since(mark) && !name.contains('/') && !standard(name) {
        f.invalid(name, "must be a standard resource type or fully qualified");
    }
    f.clean_since(mark)
}

/// A name of a resource that containers ask for.
pub(crate) fn container_name(f: &Field<'_>, text: &str) {
    name(f, text);
    if !text.contains('/') {
        if !matches!(text, "cpu" | "memory" | "ephemeral-storage") && !text.starts_with(HUGE) {
            f.invalid(text, "must be a standard resource for containers");
        }
    } else if !native(text) && !extended(text) {
        f.invalid(text, "doesn't follow extended resource name standard");
    }
}

fn pod_name(f: &Field<'_>, text: &str) {
    if name(f, text) && !matches!(text, "cpu" | "memory") && !text.starts_with(HUGE) {
        f.unsupported(text, &["cpu", HUGE, "memory"]);
    }
}

pub(crate) fn quota_name(f: &Field<'_>, text: &str) {
    name(f, text);
    if !text.contains('/') && !standard_for_quota(text) {
        f.invalid(text, "must be a standard resource for quota");
    }
}

/// Not negative, and whole where the resource is counted.
pub(crate) fn quantity(f: &Field<'_>, name: &str) {
    let q = amount(f.str());
    if q < Quantity::ZERO {
        f.invalid(&q.to_string(), "must be greater than or equal to 0");
    }
    if (COUNTED.contains(&name) || extended(name)) && q.milli_value() % 1000 != 0 {
        f.invalid(&q.to_string(), "must be an integer");
    }
}

/// Whether it is an amount of huge pages that is no multiple of their size.
pub(super) fn indivisible(name: &str, text: &str) -> bool {
    let Some(size) = name.strip_prefix(HUGE) else { return false };
    match size.parse::<Quantity>() {
        Ok(size) if size > Quantity::ZERO && size.is_integer() => amount(text).value() % size.value() != 0,
        _ => true,
    }
}

pub(super) fn of_container(f: &Field<'_>, claims: &[&str], options: &Options) {
    requirements(f, container_name, options);
    claim_names(&f.at("claims"), claims);
}

/// The overhead of a pod is written as limits are.
pub(crate) fn overhead(f: &Field<'_>, options: &Options) {
    let limits = f.at("limits").with(f.value());
    side(&limits, container_name, options);
}

/// One map of amounts: whether it has cpu or memory, and whether it has huge pages.
fn side(map: &Field<'_>, check: fn(&Field<'_>, &str), options: &Options) -> (bool, bool) {
    let mut found = (false, false);
    for (name, q) in map.entries() {
        check(&q, name);
        quantity(&q, name);
        huge_pages(&q, name, options, &mut found.1);
        found.0 |= matches!(name, "cpu" | "memory");
    }
    found
}

fn huge_pages(q: &Field<'_>, name: &str, options: &Options, found: &mut bool) {
    if name.starts_with(HUGE) {
        *found = true;
        if !options.indivisible_huge_pages && indivisible(name, q.str()) {
            let text = amount(q.str()).to_string();
            q.invalid(&text, &format!("{text} is not positive integer multiple of {name}"));
        }
    }
}

fn requirements(f: &Field<'_>, check: fn(&Field<'_>, &str), options: &Options) {
    let (limits, requests) = (f.at("limits"), f.at("requests"));
    let (mut compute, mut huge) = side(&limits, check, options);
    for (name, q) in requests.entries() {
        check(&q, name);
        quantity(&q, name);
        let asked = amount(q.str());
        match limits.key(name).text().map(amount) {
            Some(limit) if asked != limit && !overcommits(name) => requests.invalid(&asked.to_string(), &format!("must be equal to {name} limit of {limit}")),
            Some(limit) if asked > limit => requests.invalid(&asked.to_string(), &format!("must be less than or equal to {name} limit of {limit}")),
            None if !overcommits(name) => limits.required("Limit must be set for non overcommitable resources"),
            _ => {}
        }
        huge_pages(&q, name, options, &mut huge);
        compute |= matches!(name, "cpu" | "memory");
    }
    if !compute && huge {
        f.forbidden("HugePages require cpu or memory");
    }
}

fn claim_names(list: &Field<'_>, of_pod: &[&str]) {
    let mut seen: Vec<String> = Vec::new();
    for c in list.items() {
        let (name, request) = (c.at("name").str(), c.at("request"));
        if name.is_empty() {
            c.required("");
            continue;
        }
        if seen.iter().any(|s| s == name) {
            c.duplicate(name);
        } else {
            let mut key = name.to_owned();
            if !request.str().is_empty() {
                request.check(names::dns1123_label);
                key = format!("{name}/{}", request.str());
            }
            if seen.contains(&key) {
                c.duplicate(&key);
            } else if request.str().is_empty() && seen.iter().any(|s| s.split_once('/').is_some_and(|(n, _)| n == name)) {
                c.duplicate(name);
            }
            seen.push(key);
        }
        if !of_pod.contains(&name) {
            let mut all = of_pod.to_vec();
            all.sort_unstable();
            all.dedup();
            let known = if all.is_empty() { " which is empty".into() } else { format!(": {}", all.join(", ")) };
            c.not_found_for(name, &format!("must be one of the names in pod.spec.resourceClaims{known}"));
        }
    }
}

/// Amounts of a pod as a whole.
pub(super) fn of_pod(spec: &Field<'_>, options: &Options) {
    let f = spec.at("resources");
    if !f.exists() {
        return;
    }
    if spec.at("os.name").is("windows") {
        return f.forbidden("may not be set for a windows pod");
    }
    if f.at("claims").exists() {
        f.at("claims").forbidden("claims may not be set for Resources at pod-level");
    }
    requirements(&f, pod_name, options);
    claim_names(&f.at("claims"), &spec.at("resourceClaims").items().map(|c| c.at("name").str()).collect::<Vec<_>>());
    for (name, sum) in aggregate(spec, "requests") {
        let own = f.at("requests").key(name.to_owned());
        if let Some(q) = own.text().map(amount).filter(|q| sum > *q) {
            own.invalid(&q.to_string(), &format!("must be greater than or equal to aggregate container requests of {sum}"));
        }
    }
    for (name, sum) in aggregate(spec, "limits").into_iter().filter(|(n, _)| n.starts_with(HUGE)) {
        let own = f.at("limits").key(name.to_owned());
        if let Some(q) = own.text().map(amount).filter(|q| sum > *q) {
            own.invalid(&q.to_string(), &format!("must be greater than or equal to aggregate container limits of {sum}"));
        }
    }
    for (i, c) in spec.at("containers").items().enumerate() {
        for (name, q) in c.at("resources.limits").entries() {
            let limit = f.at("limits").key(name);
            if let Some(of_pod) = limit.text().map(amount).filter(|l| amount(q.str()) > *l) {
                f.at("containers")
                    .index(i)
                    .key(name)
                    .at("limits")
                    .invalid(&amount(q.str()).to_string(), &format!("must be less than or equal to pod limits of {of_pod}"));
            }
        }
    }
}

/// What all containers together need at once: the sum of those that run on, or the peak of the start.
pub(super) fn aggregate(spec: &Field<'_>, side: &'static str) -> BTreeMap<String, Quantity> {
    let of = |c: &Field<'_>| -> Vec<(String, Quantity)> { c.at("resources").at(side).entries().map(|(k, q)| (k.to_owned(), amount(q.str()))).collect() };
    let mut total: BTreeMap<String, Quantity> = BTreeMap::new();
    for (k, q) in spec.at("containers").items().flat_map(|c| of(&c)) {
        let sum = total.get(&k).copied().unwrap_or_default() + q;
        total.insert(k, sum);
    }
    let (mut sidecars, mut peak): (BTreeMap<String, Quantity>, BTreeMap<String, Quantity>) = Default::default();
    for c in spec.at("initContainers").items() {
        let always = c.at("restartPolicy").is("Always");
        let mut now: BTreeMap<String, Quantity> = of(&c).into_iter().collect();
        if always {
            for (k, q) in &now {
                let sum = total.get(k).copied().unwrap_or_default() + *q;
                total.insert(k.clone(), sum);
                let sum = sidecars.get(k).copied().unwrap_or_default() + *q;
                sidecars.insert(k.clone(), sum);
            }
            now = sidecars.clone();
        } else {
            for (k, q) in &sidecars {
                let sum = now.get(k).copied().unwrap_or_default() + *q;
                now.insert(k.clone(), sum);
            }
        }
        for (k, q) in now {
            if peak.get(&k).is_none_or(|p| q > *p) {
                peak.insert(k, q);
            }
        }
    }
    for (k, q) in peak {
        if total.get(&k).is_none_or(|t| q > *t) {
            total.insert(k, q);
        }
    }
    total
}
