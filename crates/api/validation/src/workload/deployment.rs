//! Deployments.
use super::{OF_REPLICAS, amount, at_most_100_percent, collisions, count_or_percent, counts, no_more_than, options, selector, template};
use crate::{
    field::Field,
    labels::Parsed,
    show::{internal, own},
};

pub(crate) fn create(v: &Field<'_>) {
    spec(v, None);
}

fn spec(v: &Field<'_>, old: Option<&Field<'_>>) {
    let f = v.at("spec");
    f.at("replicas").non_negative();
    let chosen = selector(&f.at("selector"), "deployment");
    if matches!(chosen, Parsed::Broken) {
        f.at("selector").invalid(crate::show::selector(f.at("selector").value()), "invalid label selector");
    } else {
        template(&f.at("template"), &chosen, "ReplicaSet", &options(old));
    }
    strategy(&f.at("strategy"));
    counts(&f, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]);
    let deadline = f.at("progressDeadlineSeconds");
    if deadline.exists() && deadline.int() <= f.at("minReadySeconds").int() {
        deadline.invalid(deadline.int(), "must be greater than minReadySeconds");
    }
}

fn strategy(f: &Field<'_>) {
    let rolling = f.at("rollingUpdate");
    match f.at("type").str() {
        "Recreate" if rolling.exists() => rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"),
        "Recreate" => {}
        "RollingUpdate" if !rolling.exists() => rolling.required("this should be defaulted and never be nil"),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            count_or_percent(&unavailable);
            count_or_percent(&surge);
            if amount(&unavailable) == 0 && amount(&surge) == 0 {
                unavailable.invalid(own(unavailable.value()), "may not be 0 when `maxSurge` is 0");
            }
            at_most_100_percent(&unavailable);
        }
        _ => f.unsupported(internal("io.k8s.api.apps.v1.DeploymentStrategy", f.value()), &["Recreate", "RollingUpdate"]),
    }
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    spec(new, Some(old));
    new.at("spec").at("selector").immutable_selector(&old.at("spec").at("selector"));
}

pub(crate) fn status(new: &Field<'_>, old: &Field<'_>) {
    let f = new.at("status");
    counts(
        &f,
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
    );
    no_more_than(&f, &["updatedReplicas", "readyReplicas", "availableReplicas"], "replicas", OF_REPLICAS);
    no_more_than(&f, &["availableReplicas"], "readyReplicas", "cannot be greater than readyReplicas");
    collisions(new, old);
}
