//! What a change of a Pod may be: images, deadlines, new tolerations, fewer gates.
use super::{Options, annotations, container, ephemeral::pretty, tolerations};
use crate::{
    field::{Field, range},
    same::{same, unified},
    show::{internal, internals},
};
use skiff_json::Value;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    let options = Options::of_pod(new, Some(old));
    super::whole(new, &options);
    annotations::update(&new.at("metadata").at("annotations"), &old.at("metadata").at("annotations"));
    let (spec, before) = (new.at("spec"), old.at("spec"));
    for list in ["containers", "initContainers"] {
        if !container::updates(&spec.at(list), &before.at(list)) {
            return;
        }
    }
    if !deadline(&spec.at("activeDeadlineSeconds"), before.at("activeDeadlineSeconds").number()) {
        return;
    }
    added_tolerations(&spec.at("tolerations"), &before.at("tolerations"), &options);
    removed_gates(&spec.at("schedulingGates"), &before.at("schedulingGates"));
    if !same(spec.value(), before.value()) {
        rest(&spec, &before);
    }
}

/// It may only come nearer. False: the errors end here.
fn deadline(f: &Field<'_>, before: Option<i64>) -> bool {
    match (f.number(), before) {
        (Some(n), _) if !(0..=i64::from(i32::MAX)).contains(&n) => f.invalid(n, &range(0, i32::MAX.into())),
        (Some(n), Some(b)) if b < n => f.invalid(n, "must be less than or equal to previous value"),
        (None, Some(_)) => {
            f.invalid(f.value(), "must not update from a positive integer to nil value");
            return true;
        }
        _ => return true,
    }
    false
}

fn added_tolerations(new: &Field<'_>, old: &Field<'_>, options: &Options) {
    let without_time = |t: &Value| {
        let mut t = t.clone();
        if let Some(m) = t.as_object_mut() {
            m.remove("tolerationSeconds");
        }
        t
    };
    let now: Vec<Value> = new.list().iter().map(without_time).collect();
    if old.list().iter().any(|t| !now.contains(&without_time(t))) {
        return new.forbidden("existing toleration can not be modified except its tolerationSeconds");
    }
    tolerations::tolerations(new, options);
}

fn removed_gates(new: &Field<'_>, old: &Field<'_>) {
    let had: Vec<&str> = old.items().map(|g| g.at("name").str()).collect();
    for gate in new.items().map(|g| g.at("name")).filter(|g| !had.contains(&g.str())) {
        gate.forbidden(&format!("only deletion is allowed, but found new scheduling gate '{}'", gate.str()));
    }
}

fn put(v: &mut Value, key: &str, from: &Value) {
    if let Some(m) = v.as_object_mut() {
        match from.get(key) {
            Some(x) => {
                m.insert(key, x.clone());
            }
            None => {
                m.shift_remove(key);
            }
        }
    }
}

/// All that is left must be as it was, once what may change is put back.
fn rest(spec: &Field<'_>, before: &Field<'_>) {
    let mut munged = spec.value().clone();
    let old = before.value();
    for list in ["containers", "initContainers"] {
        let now = munged.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (c, o) in now.zip(before.at(list).list()) {
            put(c, "image", o);
        }
    }
    for key in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put(&mut munged, key, old);
    }
    let grace = |v: &Value| v.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace(old).is_some_and(|g| g < 0) && grace(&munged) == Some(1) {
        put(&mut munged, "terminationGracePeriodSeconds", old);
    }
    if !before.at("schedulingGates").list().is_empty() {
        gated(spec, before, &mut munged);
    }
    if !same(&munged, old) {
        const TYPE: &str = "io.k8s.api.core.v1.PodSpec";
        let difference = unified(&pretty(&internal(TYPE, old).0), &pretty(&internal(TYPE, &munged).0));
        spec.forbidden(&format!("pod updates may not change fields other than {UPDATABLE}\n{difference}"));
    }
}

/// While a pod is held from scheduling, its choice of nodes may become narrower.
fn gated(spec: &Field<'_>, before: &Field<'_>, munged: &mut Value) {
    let old = before.value();
    let (now, was) = (spec.at("nodeSelector"), before.at("nodeSelector"));
    if !same(now.value(), was.value()) {
        if was.entries().any(|(k, v)| now.value().get(k) != Some(v.value())) {
            now.invalid(now.value(), "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
        }
        put(munged, "nodeSelector", old);
    }
    let (now, was) = (spec.at("affinity").at("nodeAffinity"), before.at("affinity.nodeAffinity"));
    if same(now.value(), was.value()) {
        return;
    }
    narrower(&now.at(REQUIRED).at("nodeSelectorTerms"), &was.at(REQUIRED).at("nodeSelectorTerms"));
    let others = |v: &Value| ["podAffinity", "podAntiAffinity"].iter().any(|k| v.get(k).is_some_and(|x| !x.is_null()));
    let Some(m) = munged.as_object_mut() else { return };
    match (m.get_mut("affinity"), old.get("affinity")) {
        (None, _) if was.exists() => {
            m.insert("affinity", skiff_json::json!({"nodeAffinity": was.value()}));
        }
        (None, _) => {}
        (Some(a), None) if !others(a) => {
            m.shift_remove("affinity");
        }
        (Some(a), o) => put(a, "nodeAffinity", o.unwrap_or(&Value::Null)),
    }
}

fn narrower(new: &Field<'_>, old: &Field<'_>) {
    const TYPE: &str = "io.k8s.api.core.v1.NodeSelectorTerm";
    if old.list().is_empty() {
        return;
    }
    if old.len() != new.len() {
        return new.invalid(internals(TYPE, new.value()), "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
    }
    for (n, o) in new.items().zip(old.items()) {
        let grows = |key: &'static str| {
            let (n, o) = (n.at(key).list(), o.at(key).list());
            n.len() >= o.len() && n.iter().zip(o).all(|(a, b)| same(a, b))
        };
        let filled = |f: &Field<'_>| !f.at("matchExpressions").list().is_empty() || !f.at("matchFields").list().is_empty();
        if !grows("matchExpressions") || !grows("matchFields") || (!filled(&o) && filled(&n)) {
            n.invalid(internal(TYPE, n.value()), "only additions are allowed (no mutations or deletions)");
        }
    }
}

/// A struct as upstream prints it into differences.
pub(crate) fn pretty_internal(ty: &str, v: &Value) -> String {
    pretty(&internal(ty, v).0)
}
