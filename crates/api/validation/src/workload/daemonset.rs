//! DaemonSets.
use super::{amount, at_most_100_percent, collisions, count_or_percent, counts, lasting, options};
use crate::{
    field::Field,
    labels::{self, Parsed},
    pod,
    show::{internal, own},
};

pub(crate) fn create(v: &Field<'_>) {
    spec(v, None);
}

fn spec(v: &Field<'_>, old: Option<&Field<'_>>) {
    let f = v.at("spec");
    let (selector, template) = (f.at("selector"), f.at("template"));
    labels::selector(&selector, false);
    let chosen = Parsed::of(&selector);
    if !matches!(chosen, Parsed::Broken) {
        labels::selects(&chosen, &template.at("metadata").at("labels"));
    }
    if selector.exists() && matches!(chosen, Parsed::Everything) {
        selector.invalid(crate::show::selector(selector.value()), "empty selector is invalid for daemonset");
    }
    pod::template(&template, &options(old));
    lasting(&template, "DaemonSet");
    counts(&f, &["minReadySeconds"]);
    strategy(&f.at("updateStrategy"));
    counts(&f, &["revisionHistoryLimit"]);
}

fn strategy(f: &Field<'_>) {
    let rolling = f.at("rollingUpdate");
    match f.at("type").str() {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.exists() => rolling.required(""),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            count_or_percent(&unavailable);
            count_or_percent(&surge);
            at_most_100_percent(&unavailable);
            at_most_100_percent(&surge);
            match (amount(&unavailable) != 0, amount(&surge) != 0) {
                (true, true) => surge.invalid(own(surge.value()), "may not be set when maxUnavailable is non-zero"),
                (false, false) => unavailable.required("cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => f.unsupported(internal("io.k8s.api.apps.v1.DaemonSetUpdateStrategy", f.value()), &["RollingUpdate", "OnDelete"]),
    }
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    new.at("spec").at("selector").immutable_selector(&old.at("spec").at("selector"));
    spec(new, Some(old));
}

pub(crate) fn status(new: &Field<'_>, old: &Field<'_>) {
    counts(
        &new.at("status"),
        &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ],
    );
    collisions(new, old);
}
