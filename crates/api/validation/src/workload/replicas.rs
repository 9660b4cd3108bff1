//! ReplicaSets, their predecessors the ReplicationControllers, and revisions of controllers.
use super::{OF_REPLICAS, counts, lasting, no_more_than, options, selector, template};
use crate::{field::Field, labels::Parsed, pod, show::own};
use skiff_json::Value;

pub(crate) fn create(v: &Field<'_>) {
    spec(v, None);
}

fn spec(v: &Field<'_>, old: Option<&Field<'_>>) {
    let f = v.at("spec");
    counts(&f, &["replicas", "minReadySeconds"]);
    // Upstream's words are those of Deployments.
    let chosen = selector(&f.at("selector"), "deployment");
    if matches!(chosen, Parsed::Broken) {
        f.at("selector").invalid(crate::show::selector(f.at("selector").value()), "invalid label selector");
    } else {
        template(&f.at("template"), &chosen, "ReplicaSet", &options(old));
    }
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    spec(new, Some(old));
    new.at("spec").at("selector").immutable_selector(&old.at("spec").at("selector"));
}

pub(crate) fn status(new: &Field<'_>, _old: &Field<'_>) {
    let f = new.at("status");
    counts(&f, &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration", "terminatingReplicas"]);
    no_more_than(&f, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], "replicas", OF_REPLICAS);
    no_more_than(&f, &["availableReplicas"], "readyReplicas", "cannot be greater than readyReplicas");
}

pub(crate) fn controller(v: &Field<'_>) {
    controller_spec(v, None);
}

pub(crate) fn controller_update(new: &Field<'_>, old: &Field<'_>) {
    controller_spec(new, Some(old));
}

fn controller_spec(v: &Field<'_>, old: Option<&Field<'_>>) {
    let f = v.at("spec");
    let (selector, template) = (f.at("selector"), f.at("template"));
    if selector.is_empty() {
        selector.required("");
    }
    if !template.exists() {
        template.required("");
    } else {
        let labels = template.at("metadata").at("labels");
        if selector.entries().any(|(k, v)| labels.key(k).text() != Some(v.str())) {
            labels.invalid(own(labels.value()), "`selector` does not match template `labels`");
        }
        pod::template(&template, &options(old));
        lasting(&template, "ReplicationController");
    }
    if !f.at("replicas").exists() {
        f.at("replicas").required("");
    }
    counts(&f, &["replicas", "minReadySeconds"]);
}

pub(crate) fn revision(v: &Field<'_>) {
    v.at("revision").non_negative();
    let data = v.at("data");
    match data.value() {
        Value::Object(_) => {}
        Value::Null => data.required("data is mandatory"),
        _ => data.required("data must be a valid JSON object"),
    }
}

pub(crate) fn revision_update(new: &Field<'_>, old: &Field<'_>) {
    new.at("revision").non_negative();
    new.at("data").immutable(&old.at("data"));
}
