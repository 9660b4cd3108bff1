//! What upstream tells a client about an object that it accepts: fields that do nothing any more, definitions that hide
//! each other, odd spellings. They go out as `Warning` headers.
//!
//! Not here: that a whole API is deprecated, and what strict decoding finds. Of a TLS secret nothing is said: whether a
//! key fits its certificate is not looked at.

mod objects;
mod paths;
mod pod;
mod ports;

use crate::field::{Errors, Field};
use skiff_json::Value;

/// The warnings of a write of an object in canonical form; `old` is the state before an update.
pub fn warnings(group: &str, kind: &str, subresource: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let errors = Errors::default();
    let (f, before) = (Field::root(new, &errors), Field::root(old.unwrap_or(&Value::Null), &errors));
    match subresource {
        "" => of_object(group, kind, &f, old.map(|_| before)),
        "status" => objects::status(group, kind, &f),
        _ => {}
    }
    let told = |c: skiff_meta::Cause| if c.field.is_empty() { c.message } else { format!("{}: {}", c.field, c.message) };
    errors.into_causes().into_iter().map(told).collect()
}

fn of_object(group: &str, kind: &str, f: &Field<'_>, old: Option<Field<'_>>) {
    let changed = old.as_ref().is_none_or(|o| o.inside("metadata.generation").int() != f.inside("metadata.generation").int());
    match (group, kind) {
        ("", "Pod") if old.is_none() => {
            name(f, "this is used in the Pod's hostname");
            pod::pod(f, false);
        }
        ("", "PodTemplate") if changed => pod::pod(&f.at("template"), true),
        ("apps", "Deployment" | "ReplicaSet") | ("", "ReplicationController") => workload(f, &old, changed),
        ("apps", "StatefulSet") => objects::stateful_set(f, changed),
        ("apps", "DaemonSet") if changed => pod::pod(&f.at("spec").at("template"), true),
        ("batch", "Job") => job(f, &old, changed, &f.at("spec")),
        ("batch", "CronJob") => {
            job(f, &old, changed, &f.at("spec").at("jobTemplate").at("spec"));
            if old.is_some() && f.inside("spec.schedule").str().contains("TZ") {
                f.warn_whole("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".into());
            }
        }
        _ => objects::other(group, kind, f, old.as_ref()),
    }
}

fn workload(f: &Field<'_>, old: &Option<Field<'_>>, changed: bool) {
    if old.is_none() {
        name(f, "this is used in Pod names and hostnames");
    }
    if changed {
        pod::pod(&f.at("spec").at("template"), true);
    }
}

fn job(f: &Field<'_>, old: &Option<Field<'_>>, changed: bool, spec: &Field<'_>) {
    if old.is_none() {
        name(f, "this is used in Pod names and hostnames");
    }
    if !changed {
        return;
    }
    if spec.at("completionMode").is("Indexed") && spec.at("completions").int() > 100_000 && spec.at("parallelism").int() > 10_000 {
        spec.warn("In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
    }
    pod::pod(&spec.at("template"), true);
}

fn name(f: &Field<'_>, used: &str) {
    let found = crate::names::dns1123_label(f.inside("metadata.name").str());
    if !found.is_empty() {
        let found: Vec<String> = found.iter().map(|m| m.to_string()).collect();
        f.at("metadata").at("name").warn(&format!("{used}, which can result in surprising behavior; a DNS label is recommended: [{}]", found.join(" ")));
    }
}

/// Labels of nodes that have another name now.
pub(crate) fn deprecated_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
        "failure-domain.beta.kubernetes.io/zone" => "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        "beta.kubernetes.io/instance-type" => "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
        "app.kubernetes.io/created-by" => "deprecated since v1.9",
        "scheduler.alpha.kubernetes.io/preferAvoidPods" => "deprecated since v1.22; use Taints and Tolerations instead",
        "node-role.kubernetes.io/master" => "use \"node-role.kubernetes.io/control-plane\" instead",
        _ => return None,
    })
}

/// The requirements of a node selector term; with `values`, odd label values too.
pub(crate) fn term(t: &Field<'_>, values: bool) {
    for e in t.at("matchExpressions").items() {
        let key = e.at("key");
        if let Some(why) = deprecated_label(key.str()) {
            key.warn(&format!("{} is {why}", key.str()));
        }
        for v in e.at("values").items().filter(|_| values) {
            for why in crate::names::label_value(v.str()) {
                v.warn(&format!("{} is invalid, {why}", v.str()));
            }
        }
    }
}

/// Bytes have no parts.
pub(crate) fn whole_bytes(amount: &Field<'_>) {
    let text = amount.text().unwrap_or_default();
    if text.parse::<skiff_meta::Quantity>().is_ok_and(|q| q.milli_value() % 1000 != 0) {
        amount.warn(&format!("fractional byte value {text:?} is invalid, must be an integer"));
    }
}

#[cfg(test)]
mod tests;
