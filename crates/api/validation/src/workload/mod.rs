//! What runs many pods of one template.
pub(crate) mod cronjob;
pub(crate) mod daemonset;
pub(crate) mod deployment;
pub(crate) mod indexes;
pub(crate) mod job;
pub(crate) mod job_status;
pub(crate) mod replicas;
pub(crate) mod schedule;
pub(crate) mod statefulset;

use crate::{
    field::Field,
    labels::{self, Parsed},
    names,
    pod::{self, Options},
    show::own,
};

/// A count, or a percentage.
pub(crate) fn count_or_percent(f: &Field<'_>) {
    match f.text() {
        Some(text) => {
            for m in names::percent(text) {
                f.invalid(own(f.value()), &m);
            }
        }
        None => f.non_negative(),
    }
}

/// The number of a count or of a percentage; what is neither is 0.
pub(crate) fn amount(f: &Field<'_>) -> i64 {
    percent(f).unwrap_or_else(|| f.text().map_or(f.int(), |t| t.parse().unwrap_or_default()))
}

fn percent(f: &Field<'_>) -> Option<i64> {
    let text = f.text().filter(|t| names::percent(t).is_empty())?;
    Some(text.strip_suffix('%')?.parse().unwrap_or(i64::MAX))
}

pub(crate) fn at_most_100_percent(f: &Field<'_>) {
    if percent(f).is_some_and(|p| p > 100) {
        f.invalid(own(f.value()), "must not be greater than 100%");
    }
}

/// The selector of a workload, which must select something.
fn selector(f: &Field<'_>, kind: &str) -> Parsed {
    if f.exists() {
        labels::selector(f, false);
        if f.at("matchLabels").len() + f.at("matchExpressions").len() == 0 {
            f.invalid(own(f.value()), &format!("empty selector is invalid for {kind}"));
        }
    } else {
        f.required("");
    }
    Parsed::of(f)
}

/// The template of a workload whose pods never end by themselves.
fn template(f: &Field<'_>, selector: &Parsed, kind: &str, options: &Options) {
    if !matches!(selector, Parsed::Everything) {
        labels::selects(selector, &f.at("metadata").at("labels"));
    }
    pod::template(f, options);
    lasting(f, kind);
}

fn lasting(f: &Field<'_>, kind: &str) {
    let (policy, deadline) = (f.at("spec").at("restartPolicy"), f.at("spec").at("activeDeadlineSeconds"));
    policy.if_any_of(&["Always"]);
    if deadline.exists() {
        deadline.forbidden(&format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

fn options(old: Option<&Field<'_>>) -> Options {
    Options::of_template(old.map(|o| o.at("spec").at("template")).as_ref())
}

/// A counter that never goes back.
fn collisions(new: &Field<'_>, old: &Field<'_>) {
    let f = new.at("status").at("collisionCount");
    let before = old.at("status.collisionCount");
    if before.exists() && f.number().is_none_or(|n| n < before.int()) {
        f.invalid(f.int(), "cannot be decremented");
    }
}

/// Counts in a status: none is negative.
fn counts(status: &Field<'_>, fields: &[&'static str]) {
    for f in fields {
        status.at(f).non_negative();
    }
}

/// Counts in a status of which none is more than `of`.
fn no_more_than(status: &Field<'_>, fields: &[&'static str], of: &'static str, why: &str) {
    for f in fields.iter().map(|f| status.at(f)) {
        if f.int() > status.at(of).int() {
            f.invalid(f.int(), why);
        }
    }
}

const OF_REPLICAS: &str = "cannot be greater than status.replicas";
