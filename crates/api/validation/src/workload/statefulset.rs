//! StatefulSets.
use super::{OF_REPLICAS, amount, at_most_100_percent, collisions, count_or_percent, counts, no_more_than, options, selector};
use crate::{
    field::{Field, passes},
    labels::{self, Parsed},
    names, pod,
    same::same,
    show::{internal, internals, own},
    volume,
};
use skiff_json::{Value, json};

pub(crate) fn create(v: &Field<'_>) {
    spec(v, None, false);
}

/// `keep`: what the old template breaks may stay broken.
fn spec(v: &Field<'_>, old: Option<&Field<'_>>, keep: bool) {
    let f = v.at("spec");
    let management = f.at("podManagementPolicy");
    match management.str() {
        "" => management.required(""),
        "OrderedReady" | "Parallel" => {}
        p => management.invalid(p, "must be 'OrderedReady' or 'Parallel'"),
    }
    strategy(&f.at("updateStrategy"));
    let retention = f.at("persistentVolumeClaimRetentionPolicy");
    if retention.exists() {
        for when in ["whenDeleted", "whenScaled"] {
            retention.at(when).if_any_of(&["Retain", "Delete"]);
        }
    }
    // Claims are made anew when the set was made before their rules.
    if old.is_none() {
        for t in f.at("volumeClaimTemplates").items() {
            volume::claim_spec(&t.at("spec"), false);
        }
    }
    counts(&f, &["replicas", "minReadySeconds"]);
    let start = f.under("ordinals.start", "ordinals.start");
    start.non_negative();
    let name = f.at("serviceName");
    if !name.str().is_empty() && old.is_none() {
        name.check(names::dns1123_label);
    }
    let chosen = selector(&f.at("selector"), "statefulset");
    if matches!(chosen, Parsed::Broken) {
        f.at("selector").invalid(crate::show::selector(f.at("selector").value()), "");
    } else {
        pods(&f, &chosen, old, keep);
    }
    super::lasting(&f.at("template"), "StatefulSet");
}

fn pods(f: &Field<'_>, chosen: &Parsed, old: Option<&Field<'_>>, keep: bool) {
    let template = f.at("template");
    if !matches!(chosen, Parsed::Everything) {
        labels::selects(chosen, &template.at("metadata").at("labels"));
    }
    let whole = with_claims(f);
    if !keep {
        pod::template(&template.with(&whole), &options(old));
    }
}

/// The template as pods of the set get it: with the volumes of its claims, and names of its own.
fn with_claims(f: &Field<'_>) -> Value {
    let mut template = f.at("template").value().clone();
    let mut claims: Vec<&str> = f.at("volumeClaimTemplates").items().map(|t| t.at("metadata.name").str()).collect();
    claims.sort_unstable();
    claims.dedup();
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        spec.shift_remove("hostname");
        spec.shift_remove("subdomain");
        if !claims.is_empty() {
            let own = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
            let rest = own.filter(|v| !claims.contains(&v.get("name").and_then(Value::as_str).unwrap_or_default())).cloned();
            let volumes = claims.iter().map(|c| json!({"name": c, "persistentVolumeClaim": {"claimName": c}})).chain(rest).collect();
            spec.insert("volumes", Value::Array(volumes));
        }
    }
    template
}

fn strategy(f: &Field<'_>) {
    let rolling = f.at("rollingUpdate");
    match f.at("type").str() {
        "" => f.required(""),
        "OnDelete" if rolling.exists() => {
            rolling.invalid(internal("io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy", rolling.value()), "only allowed for updateStrategy 'RollingUpdate'")
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.at("partition").non_negative();
            let unavailable = rolling.at("maxUnavailable");
            if unavailable.exists() {
                count_or_percent(&unavailable);
                if amount(&unavailable) == 0 {
                    unavailable.invalid(own(unavailable.value()), "cannot be 0");
                }
                at_most_100_percent(&unavailable);
            }
        }
        _ => f.invalid(internal("io.k8s.api.apps.v1.StatefulSetUpdateStrategy", f.value()), "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    let keep = !passes(old.value(), |o| spec(o, Some(o), false));
    spec(new, Some(old), keep);
    let (f, before) = (new.at("spec"), old.at("spec"));
    for part in ["selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"] {
        let (now, was) = (f.at(part), before.at(part));
        if part == "selector" {
            now.immutable_selector(&was);
        } else if part != "volumeClaimTemplates" {
            now.immutable(&was);
        } else if !same(&untyped(now.value()), &untyped(was.value())) {
            now.invalid(internals("io.k8s.api.core.v1.PersistentVolumeClaim", now.value()), "field is immutable");
        }
    }
}

/// The templates of claims without their kinds, which no claim is made with.
fn untyped(list: &Value) -> Value {
    let mut list = list.clone();
    for t in list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        t.shift_remove("kind");
        t.shift_remove("apiVersion");
    }
    list
}

pub(crate) fn status(new: &Field<'_>, old: &Field<'_>) {
    let f = new.at("status");
    counts(&f, &["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration", "collisionCount"]);
    no_more_than(&f, &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"], "replicas", OF_REPLICAS);
    no_more_than(&f, &["availableReplicas"], "readyReplicas", "cannot be greater than status.readyReplicas");
    collisions(new, old);
}
