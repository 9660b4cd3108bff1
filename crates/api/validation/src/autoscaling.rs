//! Horizontal pod autoscalers and the scale of things.
use crate::{field::Field, names, pod::resources};
use skiff_meta::Quantity;

const MAX_PERIOD: i64 = 1800;
const MAX_WINDOW: i64 = 3600;

pub(crate) fn autoscaler(v: &Field<'_>) {
    let target = v.at("spec").at("scaleTargetRef");
    // The only scalable kind of the core group.
    let core = target.at("kind").is("ReplicationController");
    shape(v, core);
}

pub(crate) fn autoscaler_update(new: &Field<'_>, old: &Field<'_>) {
    let (target, before) = (new.at("spec").at("scaleTargetRef"), old.inside("spec.scaleTargetRef"));
    // What was there before the rule may stay.
    let kept = ["apiVersion", "kind"].iter().all(|k| target.inside(k).str() == before.inside(k).str());
    shape(new, kept || target.at("kind").is("ReplicationController"));
}

/// `core`: the target may be of the core group.
fn shape(v: &Field<'_>, core: bool) {
    let spec = v.at("spec");
    let (min, max, metrics) = (spec.at("minReplicas"), spec.at("maxReplicas"), spec.at("metrics"));
    min.non_negative();
    if min.exists() && max.int() < min.int() {
        max.invalid(max.int(), "must be greater than or equal to `minReplicas`");
    }
    reference(&spec.at("scaleTargetRef"), core);
    for m in metrics.items() {
        metric(&m);
    }
    if min.number() == Some(0) && !metrics.items().any(|m| matches!(m.at("type").str(), "Object" | "External")) {
        metrics.forbidden("must specify at least one Object or External metric to support scaling to zero replicas");
    }
    for side in ["scaleUp", "scaleDown"] {
        rules(&spec.at("behavior").at(side));
    }
    if max.int() == 0 {
        max.required("");
    } else if max.int() < 0 {
        max.invalid(max.int(), "must be greater than or equal to 1");
    }
}

fn reference(f: &Field<'_>, core: bool) {
    for part in ["kind", "name"] {
        if f.at(part).str().is_empty() {
            f.at(part).required("");
        } else {
            f.at(part).check(names::path_segment);
        }
    }
    let version = f.at("apiVersion");
    match version.str().matches('/').count() {
        0 | 1 if core || version.str().contains('/') => {}
        0 | 1 => version.invalid(version.str(), "apiVersion must specify API group"),
        _ => version.invalid(version.str(), &format!("unexpected GroupVersion string: {}", version.str())),
    }
}

fn rules(f: &Field<'_>) {
    if !f.exists() {
        return;
    }
    let (window, policies, tolerance) = (f.at("stabilizationWindowSeconds"), f.at("policies"), f.at("tolerance"));
    if window.int() < 0 {
        window.invalid(window.int(), "must be greater than or equal to zero");
    }
    if window.int() > MAX_WINDOW {
        window.invalid(window.int(), &format!("must be less than or equal to {MAX_WINDOW}"));
    }
    f.at("selectPolicy").optional_of(&["Disabled", "Max", "Min"]);
    if policies.list().is_empty() {
        policies.required("must specify at least one Policy");
    }
    for p in policies.items() {
        p.at("type").if_any_of(&["Percent", "Pods"]);
        p.at("value").positive();
        let period = p.at("periodSeconds");
        period.positive();
        if period.int() > MAX_PERIOD {
            period.invalid(period.int(), &format!("must be less than or equal to {MAX_PERIOD}"));
        }
    }
    if tolerance.str().parse::<Quantity>().is_ok_and(|q| q < Quantity::ZERO) {
        tolerance.invalid(tolerance.str(), "must be greater than or equal to 0");
    }
}

const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
/// Sources in the order in which upstream looks at them.
const SOURCES: [(&str, &str); 5] =
    [("object", "Object"), ("external", "External"), ("pods", "Pods"), ("resource", "Resource"), ("containerResource", "ContainerResource")];

fn metric(m: &Field<'_>) {
    let kind = m.at("type");
    if kind.str().is_empty() {
        kind.required("must specify a metric source type");
    }
    kind.if_any_of(&TYPES);
    let given: Vec<&str> = SOURCES.iter().map(|(f, _)| *f).filter(|f| m.at(f).exists()).collect();
    if let Some(first) = given.first() {
        source(&m.child(*first), first);
    }
    let expected = SOURCES.iter().find(|(_, t)| kind.is(t)).map(|(f, _)| *f);
    if let Some(f) = expected.filter(|f| !m.at(f).exists()) {
        m.at(f).required("must populate information for the given metric source");
    }
    if given.len() > 1 {
        for f in given.iter().filter(|f| Some(**f) != expected) {
            m.child(*f).forbidden("must populate the given metric source only");
        }
    }
}

fn source(f: &Field<'_>, kind: &str) {
    let target = f.at("target");
    let (value, average, utilization) = (target.at("value"), target.at("averageValue"), target.at("averageUtilization"));
    match kind {
        "object" => reference(&f.at("describedObject"), true),
        "containerResource" => {
            named(&f.at("name"), "must specify a resource name", |n| resources::container_name(n, n.str()));
            named(&f.at("container"), "must specify a container", |n| n.check(names::dns1123_label));
        }
        "resource" => named(&f.at("name"), "must specify a resource name", |_| {}),
        _ => {}
    }
    if matches!(kind, "object" | "external" | "pods") {
        named(&f.at("metric").at("name"), "must specify a metric name", |n| n.check(names::path_segment));
    }
    metric_target(&target);
    let (v, a, u) = (value.exists(), average.exists(), utilization.exists());
    match kind {
        "object" if !v && !a => average.required("must set either a target value or averageValue"),
        "external" if !v && !a => average.required("must set either a target value for metric or a per-pod target"),
        "external" if v && a => value.forbidden("may not set both a target value for metric and a per-pod target"),
        "pods" if !a => average.required("must specify a positive target averageValue"),
        "resource" | "containerResource" if !u && !a => utilization.required("must set either a target raw value or a target utilization"),
        "resource" | "containerResource" if u && a => average.forbidden("may not set both a target raw value and a target utilization"),
        _ => {}
    }
}

fn named(f: &Field<'_>, why: &str, check: impl Fn(&Field<'_>)) {
    if f.str().is_empty() { f.required(why) } else { check(f) }
}

fn metric_target(t: &Field<'_>) {
    let kind = t.at("type");
    if kind.str().is_empty() {
        kind.required("must specify a metric target type");
    }
    if !matches!(kind.str(), "Utilization" | "Value" | "AverageValue") {
        kind.invalid(kind.str(), "must be either Utilization, Value, or AverageValue");
    }
    for q in [t.at("value"), t.at("averageValue")] {
        if q.exists() && q.str().parse::<Quantity>().is_ok_and(|q| q <= Quantity::ZERO) {
            q.invalid(q.str(), "must be positive");
        }
    }
    let utilization = t.at("averageUtilization");
    if utilization.exists() && utilization.int() < 1 {
        utilization.invalid(utilization.int(), "must be greater than 0");
    }
}

pub(crate) fn status(new: &Field<'_>, _old: &Field<'_>) {
    let f = new.at("status");
    for c in f.at("conditions").items() {
        c.at("observedGeneration").non_negative();
    }
    f.at("currentReplicas").non_negative();
    f.at("desiredReplicas").non_negative();
}

/// A Scale, whatever it is the scale of.
pub(crate) fn scale(v: &Field<'_>) {
    v.at("spec").at("replicas").non_negative();
}
