//! Writes to `pods/resize`: amounts of cpu and memory of a running pod.
use super::{Options, annotations, resources};
use crate::{field::Field, same::same};
use skiff_json::Value;
use skiff_meta::Quantity;

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    let nowhere = new.under("-", "[]");
    if annotations::is_mirror(old) {
        return nowhere.forbidden("static pods cannot be resized");
    }
    if old.at("spec.os.name").is("windows") {
        return nowhere.forbidden("windows pods cannot be resized");
    }
    let mark = new.mark();
    super::whole(new, &Options::of_pod(new, Some(old)));
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if qos(&before) != qos(&spec) {
        spec.invalid(new.at("status.qosClass").str(), "Pod QOS Class may not change as a result of resizing");
    }
    let running = old.at("status.containerStatuses").items().find(|c| c.at("state.running").exists());
    if running.is_some_and(|c| !c.at("resources").exists()) {
        spec.forbidden("Pod running on node without support for resize");
    }
    pod_level(&spec, &before);
    if !same_containers(&spec, &before) {
        return;
    }
    for list in ["initContainers", "containers"] {
        for (c, o) in spec.at(list).items().zip(before.at(list).items()) {
            kept(&c.at("resources"), &o.at("resources"), "resource");
            one(&spec, &c, &o, list);
        }
    }
    if !same(spec.at("volumes").value(), before.at("volumes").value()) {
        spec.at("volumes").forbidden("volumes are immutable on resize when InPlacePodVerticalScalingMemoryBackedVolumes feature gate is disabled");
    }
    if new.clean_since(mark) && !same(&munged(spec.value(), before.value()), before.value()) {
        spec.forbidden("only cpu and memory resources are mutable");
    }
}

/// A container may change in its amounts only.
fn one(spec: &Field<'_>, c: &Field<'_>, o: &Field<'_>, list: &str) {
    let changed = !same(c.value(), o.value());
    let fits = same(&with_old_amounts(c.value(), o.value()), o.value());
    if list == "containers" {
        if !fits {
            spec.forbidden("only cpu and memory resources are mutable");
        }
        return;
    }
    if !fits {
        c.forbidden("only cpu and memory resources for init or sidecar containers are mutable");
    }
    if changed && !c.at("restartPolicy").is("Always") && c.at("resizePolicy").items().any(|p| p.at("restartPolicy").is("RestartContainer")) {
        c.forbidden("non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
    }
}

fn same_containers(spec: &Field<'_>, before: &Field<'_>) -> bool {
    let mark = spec.mark();
    for list in ["containers", "initContainers"] {
        let (now, was) = (spec.at(list), before.at(list));
        if now.len() != was.len() {
            now.forbidden(&format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (c, o) in now.items().zip(was.items()).map(|(c, o)| (c.at("name"), o.at("name"))).filter(|(c, o)| c.str() != o.str()) {
            let _ = o;
            c.forbidden(&format!("{list} may not be renamed or reordered on resize"));
        }
    }
    spec.clean_since(mark)
}

/// No amount may be taken away.
fn kept(new: &Field<'_>, old: &Field<'_>, what: &str) {
    for side in ["requests", "limits"] {
        let (n, o) = (new.at(side), old.at(side));
        if o.len() > n.len() || o.entries().any(|(k, _)| !n.key(k).exists()) {
            n.forbidden(&format!("{what} {side} cannot be removed"));
        }
    }
}

fn pod_level(spec: &Field<'_>, before: &Field<'_>) {
    let (new, old) = (spec.at("resources"), before.at("resources"));
    if old.exists() && !new.exists() {
        return new.forbidden("pod-level resources cannot be removed");
    }
    if old.exists() {
        kept(&new, &old, "pod-level resource");
    }
    let munged = amounts(new.value(), old.value());
    let empty = munged.as_object().is_none_or(|m| m.values().all(|v| v.as_object().is_none_or(|m| m.is_empty())));
    if new.exists() && !same(&munged, old.value()) && !(old.value().is_null() && empty) {
        spec.forbidden("only cpu and memory resources are mutable at pod-level");
    }
}

/// `new` with the cpu and memory of `old`.
fn amounts(new: &Value, old: &Value) -> Value {
    let mut out = new.clone();
    for side in ["requests", "limits"] {
        for name in ["cpu", "memory"] {
            let before = old.get(side).and_then(|m| m.get(name));
            let Some(map) = out.as_object_mut() else { continue };
            if before.is_none() && !map.contains_key(side) {
                continue;
            }
            let slot = map.entry(side).or_insert_with(|| Value::Object(Default::default()));
            let Some(slot) = slot.as_object_mut() else { continue };
            match before {
                Some(q) => drop(slot.insert(name, q.clone())),
                None => drop(slot.shift_remove(name)),
            }
            if slot.is_empty() {
                map.shift_remove(side);
            }
        }
    }
    out
}

fn with_old_amounts(c: &Value, o: &Value) -> Value {
    let mut c = c.clone();
    let was = o.get("resources").unwrap_or(&Value::Null);
    if let Some(r) = c.get_mut("resources") {
        *r = amounts(r, was);
    }
    c
}

fn munged(spec: &Value, before: &Value) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        let old = before.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (c, o) in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().zip(old) {
            *c = with_old_amounts(c, o);
        }
    }
    if let (Some(r), Some(m)) = (before.get("resources"), spec.as_object_mut()) {
        m.insert("resources", r.clone());
    } else if let Some(m) = spec.as_object_mut() {
        m.shift_remove("resources");
    }
    spec
}

/// Guaranteed, Burstable or BestEffort.
fn qos(spec: &Field<'_>) -> &'static str {
    let containers: Vec<Field<'_>> = ["containers", "initContainers"].into_iter().flat_map(|l| spec.at(l).items()).map(|c| c.at("resources")).collect();
    let positive = |r: &Field<'_>, side: &'static str, name: &'static str| r.at(side).key(name).str().parse::<Quantity>().ok().filter(|q| *q > Quantity::ZERO);
    let any = |r: &Field<'_>| ["requests", "limits"].into_iter().any(|s| ["cpu", "memory"].into_iter().any(|n| positive(r, s, n).is_some()));
    let of_pod = spec.at("resources");
    let all = if any(&of_pod) { vec![of_pod] } else { containers };
    if !all.iter().any(any) {
        return "BestEffort";
    }
    let guaranteed =
        |r: &Field<'_>| ["cpu", "memory"].into_iter().all(|n| matches!((positive(r, "requests", n), positive(r, "limits", n)), (Some(a), Some(b)) if a == b));
    let _ = resources::aggregate;
    if all.iter().all(guaranteed) { "Guaranteed" } else { "Burstable" }
}
