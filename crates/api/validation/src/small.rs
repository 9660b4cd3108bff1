//! Kinds with few rules: disruption budgets, priority and runtime classes, leases, events.
use crate::{
    field::Field,
    labels, names,
    pod::{Options, resources, tolerations},
    show::{internal, own},
    workload::{at_most_100_percent, count_or_percent},
};
use skiff_json::Value;

pub(crate) fn budget(v: &Field<'_>) {
    let spec = v.at("spec");
    let (min, max) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
    if min.exists() && max.exists() {
        spec.invalid(internal("io.k8s.api.policy.v1.PodDisruptionBudgetSpec", spec.value()), "minAvailable and maxUnavailable cannot be both set");
    }
    for f in [min, max].iter().filter(|f| f.exists()) {
        count_or_percent(f);
        at_most_100_percent(f);
    }
    labels::selector(&spec.at("selector"), false);
    spec.at("unhealthyPodEvictionPolicy").optional_of(&["AlwaysAllow", "IfHealthyBudget"]);
}

pub(crate) fn budget_status(new: &Field<'_>, _old: &Field<'_>) {
    let f = new.at("status");
    conditions(&f.at("conditions"));
    for part in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        f.at(part).non_negative();
    }
}

const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;

/// Conditions of the general type.
pub(crate) fn conditions(list: &Field<'_>) {
    let mut seen = Vec::new();
    for c in list.items() {
        let (kind, status, reason) = (c.at("type"), c.at("status"), c.at("reason"));
        if seen.contains(&kind.str()) {
            c.duplicate(kind.str());
        } else {
            seen.push(kind.str());
        }
        if kind.str().is_empty() {
            kind.required("is required");
        } else {
            kind.check(names::qualified_name);
        }
        status.one_of(&["False", "True", "Unknown"]);
        if c.at("observedGeneration").int() < 0 {
            c.at("observedGeneration").invalid(c.at("observedGeneration").int(), "must be greater than or equal to zero");
        }
        if !c.at("lastTransitionTime").exists() {
            c.at("lastTransitionTime").required("");
        }
        if reason.str().is_empty() {
            reason.required("");
        } else {
            reason.check(names::condition_reason);
            if reason.str().len() > MAX_REASON {
                reason.too_long(MAX_REASON);
            }
        }
        if c.at("message").str().len() > MAX_MESSAGE {
            c.at("message").too_long(MAX_MESSAGE);
        }
    }
}

const HIGHEST: i64 = 1_000_000_000;
const SYSTEM: [(&str, i64); 2] = [("system-node-critical", 2 * HIGHEST + 1000), ("system-cluster-critical", 2 * HIGHEST)];

pub(crate) fn priority_class(v: &Field<'_>) {
    let (name, value) = (v.at("metadata").at("name"), v.at("value"));
    if name.str().starts_with("system-") {
        let known = SYSTEM.iter().find(|(n, _)| name.is(n));
        let why = match known {
            None => Some(format!("{} is not a known system priority class", name.str())),
            Some((n, k)) if *k != value.int() => Some(format!("value of {n} PriorityClass must be {k}")),
            Some((n, _)) if v.at("globalDefault").flag() => Some(format!("globalDefault of {n} PriorityClass must be false")),
            Some(_) => None,
        };
        if let Some(why) = why {
            name.forbidden(&format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}"));
        }
    } else if value.int() > HIGHEST {
        value.forbidden(&format!("maximum allowed value of a user defined priority is {HIGHEST}"));
    }
    let preemption = v.at("preemptionPolicy");
    if preemption.exists() {
        preemption.one_of(&["PreemptLowerPriority", "Never"]);
    }
}

pub(crate) fn priority_class_update(new: &Field<'_>, old: &Field<'_>) {
    if new.at("value").int() != old.at("value").int() {
        new.at("value").forbidden("may not be changed in an update.");
    }
    new.at("preemptionPolicy").immutable(&old.at("preemptionPolicy"));
}

pub(crate) fn runtime_class(v: &Field<'_>) {
    let (handler, scheduling) = (v.at("handler"), v.at("scheduling"));
    let overhead = v.at("overhead");
    if overhead.exists() {
        resources::overhead(&overhead.with(overhead.at("podFixed").value()), &Options::default());
    }
    labels::labels(&scheduling.at("nodeSelector"));
    tolerated(&scheduling.at("tolerations"));
    // A declared rule: told last.
    if handler.str().is_empty() {
        handler.required("");
    } else {
        handler.check(names::short_name);
    }
}

fn tolerated(list: &Field<'_>) {
    tolerations::tolerations(list, &Options::default());
    let mut seen = Vec::new();
    for t in list.items() {
        let id = ["key", "operator", "value", "effect"].map(|p| t.at(p).str());
        if seen.contains(&id) {
            t.duplicate(internal("io.k8s.api.core.v1.Toleration", t.value()));
        }
        seen.push(id);
    }
}

pub(crate) fn runtime_class_update(new: &Field<'_>, old: &Field<'_>) {
    let handler = new.at("handler");
    if handler.str() != old.at("handler").str() {
        handler.invalid(&Value::Null, "field is immutable");
        if handler.str().is_empty() {
            handler.required("");
        }
    }
    tolerated(&new.at("scheduling").at("tolerations"));
}

pub(crate) fn lease(v: &Field<'_>) {
    let spec = v.at("spec");
    let (duration, transitions, strategy, holder) =
        (spec.at("leaseDurationSeconds"), spec.at("leaseTransitions"), spec.at("strategy"), spec.at("preferredHolder"));
    if duration.exists() && duration.int() <= 0 {
        duration.invalid(duration.int(), "must be greater than 0");
    }
    transitions.non_negative();
    if strategy.exists() {
        if !strategy.str().contains('/') {
            strategy.at("strategy").with(strategy.value()).if_any_of(&["OldestEmulationVersion"]);
        } else {
            strategy.at("strategy").check_text(strategy.str(), names::qualified_name);
        }
    }
    if !holder.str().is_empty() && strategy.str().is_empty() {
        holder.forbidden("may only be specified if `strategy` is defined");
    }
}

const MAX_WORDS: usize = 128;
const MAX_NOTE: usize = 1024;

/// Events of the core group; those of `events.k8s.io` have stricter rules too.
pub(crate) fn event(v: &Field<'_>) {
    event_common(v, "reportingComponent");
}

/// Events of `events.k8s.io`, in the core group's form.
pub(crate) fn new_event(v: &Field<'_>) {
    event_common(v, "reportingController");
    if v.at("series").exists() {
        series(v);
    }
    if !v.at("eventTime").exists() {
        v.at("eventTime").required("");
    }
    let kind = v.at("type");
    if !matches!(kind.str(), "Normal" | "Warning") {
        kind.invalid("", &format!("has invalid value: {}", kind.str()));
    }
    for old in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        let f = v.at(old);
        let zero = f.number() == Some(0) || f.value().as_object().is_some_and(|m| m.values().all(|x| x == ""));
        if f.exists() && !zero {
            f.invalid("", "needs to be unset");
        }
    }
}

/// What an event stays with, in the order that upstream looks at it: the reason twice.
const FIXED: [&str; 14] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "reason",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

fn event_part(field: &str) -> &'static str {
    if field == "source" { "io.k8s.api.core.v1.EventSource" } else { "io.k8s.api.core.v1.ObjectReference" }
}

fn series(v: &Field<'_>) {
    if v.at("series.count").int() < 2 {
        v.at("series.count").invalid("", "should be at least 2");
    }
    if !v.at("series.lastObservedTime").exists() {
        v.at("series.lastObservedTime").required("");
    }
}

/// Nothing but the series may change.
pub(crate) fn new_event_update(new: &Field<'_>, old: &Field<'_>) {
    event_common(new, "reportingController");
    if new.at("series").exists() && !crate::same::same(new.at("series").value(), old.at("series").value()) {
        series(new);
    }
    for field in FIXED {
        let f = if field == "reportingComponent" { new.under(field, "reportingController") } else { new.at(field) };
        if crate::same::same(f.value(), old.at(field).value()) {
            continue;
        }
        let shown = match field {
            "involvedObject" | "source" => internal(event_part(field), f.value()),
            "related" if f.exists() => internal(event_part(field), f.value()),
            "count" => own(&f.int().into()),
            "related" | "firstTimestamp" | "lastTimestamp" | "eventTime" => own(f.value()),
            _ => own(&f.str().into()),
        };
        f.invalid(shown, "field is immutable");
    }
}

fn event_common(v: &Field<'_>, reporter: &'static str) {
    let (namespace, about) = (v.at("metadata.namespace").str(), v.at("involvedObject").at("namespace"));
    let (fresh, unbound) = (v.at("eventTime").exists(), about.str().is_empty());
    let elsewhere = match (fresh, unbound) {
        (false, true) => !matches!(namespace, "" | "default"),
        (false, false) => namespace != about.str(),
        (true, true) => !matches!(namespace, "default" | "kube-system"),
        (true, false) => false,
    };
    if elsewhere {
        about.invalid(about.str(), "does not match event.namespace");
    }
    if !fresh {
        return;
    }
    let controller = v.under("reportingComponent", reporter);
    if controller.str().is_empty() {
        controller.required("");
    }
    controller.check(names::qualified_name);
    for (part, max, needed) in [("reportingInstance", MAX_WORDS, true), ("action", MAX_WORDS, true), ("reason", MAX_WORDS, true), ("message", MAX_NOTE, false)]
    {
        let f = v.at(part);
        if needed && f.str().is_empty() {
            f.required("");
        }
        if f.str().len() > max {
            f.invalid("", &format!("can have at most {max} characters"));
        }
    }
}
