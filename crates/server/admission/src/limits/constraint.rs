//! One bound against one set of requests and limits; the texts are upstream's.
use crate::resources::{self, Resources};
use skiff_json::Value;
use skiff_meta::Quantity;

/// All bounds of one item of a LimitRange.
pub(super) fn check(limit: &Value, kind: &str, requests: &Resources, limits: &Resources, errors: &mut Vec<String>) {
    for (name, bound) in resources::at(limit, "min") {
        errors.extend(at_least(kind, &name, bound, requests, limits));
    }
    for (name, bound) in resources::at(limit, "max") {
        errors.extend(at_most(kind, &name, bound, requests, limits));
    }
    for (name, bound) in resources::at(limit, "maxLimitRequestRatio") {
        errors.extend(ratio(kind, &name, bound, requests, limits));
    }
}

pub(super) fn at_least(kind: &str, name: &str, bound: Quantity, requests: &Resources, limits: &Resources) -> Option<String> {
    let text = format!("minimum {name} usage per {kind} is {bound}");
    match (requests.get(name), limits.get(name)) {
        (None, _) => Some(format!("{text}.  No request is specified")),
        (Some(r), _) if *r < bound => Some(format!("{text}, but request is {r}")),
        (_, Some(l)) if *l < bound => Some(format!("{text}, but limit is {l}")),
        _ => None,
    }
}

fn at_most(kind: &str, name: &str, bound: Quantity, requests: &Resources, limits: &Resources) -> Option<String> {
    let text = format!("maximum {name} usage per {kind} is {bound}");
    match (requests.get(name), limits.get(name)) {
        (_, None) => Some(format!("{text}.  No limit is specified")),
        (_, Some(l)) if *l > bound => Some(format!("{text}, but limit is {l}")),
        (Some(r), _) if *r > bound => Some(format!("{text}, but request is {r}")),
        _ => None,
    }
}

/// For what has requests only.
pub(super) fn requests_at_most(kind: &str, name: &str, bound: Quantity, requests: &Resources) -> Option<String> {
    let text = format!("maximum {name} usage per {kind} is {bound}");
    match requests.get(name) {
        None => Some(format!("{text}.  No request is specified")),
        Some(r) if *r > bound => Some(format!("{text}, but request is {r}")),
        _ => None,
    }
}

fn ratio(kind: &str, name: &str, bound: Quantity, requests: &Resources, limits: &Resources) -> Option<String> {
    let text = format!("{name} max limit to request ratio per {kind} is {bound}");
    let Some(request) = requests.get(name).filter(|q| !q.is_zero()) else {
        return Some(format!("{text}, but no request is specified or request is 0"));
    };
    let Some(limit) = limits.get(name).filter(|q| !q.is_zero()) else {
        return Some(format!("{text}, but no limit is specified or limit is 0"));
    };
    let (limit, request) = (limit.milli_value() as f64, request.milli_value() as f64);
    let provided = limit / request;
    (provided * 1000.0 > bound.milli_value() as f64).then(|| format!("{text}, but provided ratio is {provided:.6}"))
}
