//! ResourceQuotas and LimitRanges.
use crate::{
    field::Field,
    names,
    pod::resources,
    show::{internal, own},
};
use skiff_meta::Quantity;
use std::collections::BTreeSet;

fn amounts(map: &Field<'_>) {
    for (name, q) in map.entries() {
        resources::quota_name(&q, name);
        resources::quantity(&q, name);
    }
}

pub(crate) fn quota(v: &Field<'_>) {
    quota_spec(v);
    quota_status(v, v);
}

pub(crate) fn quota_status(v: &Field<'_>, _old: &Field<'_>) {
    amounts(&v.at("status").at("hard"));
    amounts(&v.at("status").at("used"));
}

const SCOPES: [&str; 7] =
    ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "VolumeAttributesClass", "CrossNamespacePodAffinity"];

/// Whether a quota of a scope can count the resource.
fn counts(scope: &str, resource: &str) -> bool {
    let compute = matches!(resource, "cpu" | "memory" | "limits.cpu" | "limits.memory" | "requests.cpu" | "requests.memory");
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => resource == "pods" || compute,
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

fn misapplied(scope: &str, hard: &Field<'_>) -> bool {
    hard.entries().any(|(k, _)| resources::standard_for_quota(k) && !counts(scope, k))
}

fn conflicting(scopes: &[&str]) -> bool {
    [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]].iter().any(|pair| pair.iter().all(|s| scopes.contains(s)))
}

fn quota_spec(v: &Field<'_>) {
    let spec = v.at("spec");
    let (hard, scopes) = (spec.at("hard"), spec.at("scopes"));
    amounts(&hard);
    for s in scopes.strs() {
        if !SCOPES.contains(&s) {
            scopes.invalid(own(scopes.value()), "unsupported scope");
        }
        if misapplied(s, &hard) {
            scopes.invalid(own(scopes.value()), "unsupported scope applied to resource");
        }
    }
    if conflicting(&scopes.strs()) {
        scopes.invalid(own(scopes.value()), "conflicting scopes");
    }
    if spec.at("scopeSelector").exists() {
        scope_selector(&spec, &hard);
    }
}

fn scope_selector(spec: &Field<'_>, hard: &Field<'_>) {
    let selector = spec.at("scopeSelector");
    // Upstream tells of all requirements under the list.
    let list = selector.at("matchExpressions");
    for r in list.items() {
        let (scope, operator, values) = (
            list.at("scopeName").with(r.at("scopeName").value()),
            list.at("operator").with(r.at("operator").value()),
            list.at("values").with(r.at("values").value()),
        );
        if !SCOPES.contains(&scope.str()) {
            scope.invalid(scope.str(), "unsupported scope");
        }
        if misapplied(scope.str(), hard) {
            list.invalid(internal("io.k8s.api.core.v1.ScopeSelector", selector.value()), "unsupported scope applied to resource");
        }
        if matches!(scope.str(), "BestEffort" | "NotBestEffort" | "Terminating" | "NotTerminating" | "CrossNamespacePodAffinity") && !operator.is("Exists") {
            operator.invalid(operator.str(), "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
        }
        match operator.str() {
            "In" | "NotIn" if values.list().is_empty() => values.required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
            "Exists" | "DoesNotExist" if !values.list().is_empty() => {
                values.invalid(own(values.value()), "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector")
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            o => operator.invalid(o, "not a valid selector operator"),
        }
    }
    let scopes: Vec<&str> = list.items().map(|r| r.at("scopeName").str()).collect();
    if conflicting(&scopes) {
        list.invalid(own(spec.at("scopes").value()), "conflicting scopes");
    }
}

pub(crate) fn quota_update(new: &Field<'_>, old: &Field<'_>) {
    quota_spec(new);
    let scopes = new.at("spec").at("scopes");
    let set = |f: &Field<'_>| -> BTreeSet<String> { f.strs().into_iter().map(str::to_owned).collect() };
    if set(&scopes) != set(&old.at("spec.scopes")) {
        scopes.invalid(own(scopes.value()), "field is immutable");
    }
}

pub(crate) fn limit_range(v: &Field<'_>) {
    let mut seen = Vec::new();
    for limit in v.at("spec").at("limits").items() {
        let kind = limit.at("type");
        let mark = kind.mark();
        kind.check(names::qualified_name);
        if kind.clean_since(mark) && !kind.str().contains('/') && !matches!(kind.str(), "Pod" | "Container" | "PersistentVolumeClaim") {
            kind.invalid(kind.str(), "must be a standard limit type or fully qualified");
        }
        if seen.contains(&kind.str()) {
            kind.duplicate(kind.str());
        }
        seen.push(kind.str());
        one_limit(&limit, kind.str());
    }
}

fn one_limit(limit: &Field<'_>, kind: &str) {
    let mut keys = BTreeSet::new();
    for side in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        let map = limit.at(side);
        if kind == "Pod" && side.starts_with("default") {
            if !map.is_empty() {
                map.forbidden("may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, q) in map.entries() {
            if matches!(kind, "Pod" | "Container") {
                resources::container_name(&q, name);
            } else {
                resources::name(&q, name);
            }
            keys.insert(name);
        }
    }
    if kind == "PersistentVolumeClaim" && !limit.at("min").key("storage").exists() && !limit.at("max").key("storage").exists() {
        limit.at("limits").required("either minimum or maximum storage value is required, but neither was provided");
    }
    for name in keys {
        compare(limit, kind, name);
    }
}

fn compare(limit: &Field<'_>, kind: &str, name: &str) {
    let get = |side: &'static str| -> Option<Quantity> {
        let given = limit.at(side).value().get(name)?.as_str()?.parse().ok();
        if kind == "Pod" && side.starts_with("default") { None } else { given }
    };
    let (min, max, default, request, ratio) = (get("min"), get("max"), get("default"), get("defaultRequest"), get("maxLimitRequestRatio"));
    let tell = |side: &'static str, bad: Quantity, why: String| limit.at(side).key(name.to_owned()).invalid(&bad.to_string(), &why);
    let pairs = [
        (min, max, "min", true, "min value", "max value"),
        (min, request, "defaultRequest", false, "min value", "default request value"),
        (request, max, "defaultRequest", true, "default request value", "max value"),
        (request, default, "defaultRequest", true, "default request value", "default limit value"),
        (min, default, "default", true, "min value", "default value"),
        (default, max, "default", false, "default value", "max value"),
    ];
    for (small, great, side, first, a, b) in pairs {
        if let (Some(s), Some(g)) = (small, great)
            && s > g
        {
            tell(side, if first { s } else { g }, format!("{a} {s} is greater than {b} {g}"));
        }
    }
    if let Some(r) = ratio {
        if r < Quantity::units(1) {
            tell("maxLimitRequestRatio", r, format!("ratio {r} is less than 1"));
        }
        if let (Some(min), Some(max)) = (min, max)
            && r.as_f64() > max.as_f64() / min.as_f64()
        {
            tell("maxLimitRequestRatio", r, format!("ratio {r} is greater than max/min = {:.6}", max.as_f64() / min.as_f64()));
        }
    }
    let overcommits = resources::native(name) && !name.starts_with("hugepages-");
    if let (false, Some(d), Some(r)) = (overcommits, default, request)
        && d != r
    {
        tell("defaultRequest", r, format!("default value {d} must equal to defaultRequest value {r} in {name}"));
    }
}
