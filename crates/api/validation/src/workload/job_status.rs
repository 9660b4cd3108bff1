//! Writes to `jobs/status`: how a Job may come to its end.
use super::{counts, indexes};
use crate::{
    field::Field,
    same::same,
    show::{Omitted, internal, own},
};

fn has(job: &Field<'_>, condition: &str) -> bool {
    job.at("status.conditions").items().any(|c| c.at("type").is(condition) && c.at("status").is("True"))
}
fn finished(job: &Field<'_>) -> bool {
    has(job, "Complete") || has(job, "Failed")
}

/// A change of a status, part by part.
struct Change<'a, 'b> {
    new: &'b Field<'a>,
    old: &'b Field<'a>,
}

impl Change<'_, '_> {
    fn of(&self, field: &'static str) -> bool {
        !same(self.new.at("status").at(field).value(), self.old.at("status").at(field).value())
    }
    fn of_condition(&self, condition: &str) -> bool {
        has(self.new, condition) != has(self.old, condition)
    }
    fn of_end(&self) -> bool {
        finished(self.new) != finished(self.old)
    }
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    let f = new.at("status");
    let change = Change { new, old };
    counts(&f, &["active", "succeeded", "failed", "ready", "terminating"]);
    uncounted(&f.at("uncountedTerminatedPods"));
    conditions(&f.at("conditions"), &change);
    times(&f, &change);
    rest_of_pods(&f, &change);
    index_lists(&f, &change);
    if change.of("ready") || change.of("active") {
        let ready = f.at("ready");
        if ready.exists() && ready.int() > f.at("active").int() {
            ready.invalid(ready.int(), "cannot set more ready pods than active");
        }
    }
    criteria(&f.at("conditions"), new);
    only_forward(&f, &change);
}

fn uncounted(f: &Field<'_>) {
    let mut seen = std::collections::HashSet::new();
    for uid in f.at("succeeded").items().chain(f.at("failed").items()) {
        if uid.str().is_empty() {
            uid.invalid("", "must not be empty");
        } else if !seen.insert(uid.str()) {
            uid.duplicate(uid.str());
        }
    }
}

fn conditions(f: &Field<'_>, change: &Change<'_, '_>) {
    let new = change.new;
    let (complete, failed) = (change.of_condition("Complete"), change.of_condition("Failed"));
    if (complete || failed) && has(new, "Complete") && has(new, "Failed") {
        f.invalid(Omitted, "cannot set Complete=True and Failed=true conditions");
    }
    if (complete || change.of_condition("FailureTarget")) && has(new, "Complete") && has(new, "FailureTarget") {
        f.invalid(Omitted, "cannot set Complete=True and FailureTarget=true conditions");
    }
    if (failed || change.of("failedIndexes")) && has(new, "Failed") && !has(new, "FailureTarget") {
        f.invalid(Omitted, "cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if (complete || change.of_condition("SuccessCriteriaMet")) && has(new, "Complete") && !has(new, "SuccessCriteriaMet") {
        f.invalid(Omitted, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    }
}

fn times(f: &Field<'_>, change: &Change<'_, '_>) {
    let (start, end) = (f.at("startTime"), f.at("completionTime"));
    let complete = has(change.new, "Complete");
    if change.of_condition("Complete") || change.of("completionTime") {
        if end.exists() && !complete {
            end.invalid(own(end.value()), "cannot set completionTime when there is no Complete=True condition");
        }
        if !end.exists() && complete {
            end.required("completionTime is required for Complete jobs");
        }
    }
    // Both are RFC 3339 in UTC, so that their order is that of their texts.
    if (change.of("startTime") || change.of("completionTime")) && start.exists() && end.exists() && end.str() < start.str() {
        end.invalid(own(end.value()), "must be equal to or after `startTime`");
    }
}

fn rest_of_pods(f: &Field<'_>, change: &Change<'_, '_>) {
    let end = change.of_end();
    let spec = change.new.at("spec");
    let nothing_to_do = spec.at("suspend").flag() && spec.at("completions").number() == Some(0);
    if !finished(change.new) {
        return;
    }
    let (active, terminating, uncounted) = (f.at("active"), f.at("terminating"), f.at("uncountedTerminatedPods"));
    if (end || change.of("active")) && active.int() > 0 {
        active.invalid(active.int(), "active>0 is invalid for finished job");
    }
    if (end || change.of("startTime")) && !nothing_to_do && !f.at("startTime").exists() {
        f.at("startTime").required("startTime is required for finished job");
    }
    if (end || change.of("uncountedTerminatedPods")) && uncounted.at("failed").len() + uncounted.at("succeeded").len() > 0 {
        uncounted.invalid(internal("io.k8s.api.batch.v1.UncountedTerminatedPods", uncounted.value()), "must be empty for finished job");
    }
    if (end || change.of("terminating")) && terminating.int() > 0 {
        terminating.invalid(terminating.int(), "terminating>0 is invalid for finished job");
    }
}

fn index_lists(f: &Field<'_>, change: &Change<'_, '_>) {
    let spec = change.new.at("spec");
    let (completed, failed) = (f.at("completedIndexes"), f.at("failedIndexes"));
    let (completed_changed, failed_changed) = (change.of("completedIndexes"), change.of("failedIndexes"));
    let per_index = spec.at("backoffLimitPerIndex").exists();
    if let Some(completions) = spec.at("completions").number() {
        if completed_changed && let Err(e) = indexes::count(completed.str(), completions) {
            completed.invalid(completed.str(), &format!("error parsing completedIndexes: {e}"));
        }
        if failed_changed
            && per_index
            && let Some(Err(e)) = failed.text().map(|t| indexes::count(t, completions))
        {
            failed.invalid(own(failed.value()), &format!("error parsing failedIndexes: {e}"));
        }
        if (failed_changed || completed_changed)
            && let Some(i) = indexes::overlap(completed.str(), failed.str(), completions)
        {
            failed.invalid(failed.str(), &format!("failedIndexes and completedIndexes overlap at index: {i}"));
        }
    }
    if completed_changed && !completed.str().is_empty() && !spec.at("completionMode").is("Indexed") {
        completed.invalid(completed.str(), "cannot set non-empty completedIndexes when non-indexed completion mode");
    }
    if failed_changed && failed.exists() && !per_index {
        failed.invalid(failed.str(), "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
}

fn criteria(f: &Field<'_>, new: &Field<'_>) {
    let met = has(new, "SuccessCriteriaMet");
    if met && has(new, "Failed") {
        f.invalid(Omitted, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    }
    if met && has(new, "FailureTarget") {
        f.invalid(Omitted, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    }
    if new.at("spec.successPolicy").exists() && !met && has(new, "Complete") {
        f.invalid(Omitted, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    }
}

fn only_forward(f: &Field<'_>, change: &Change<'_, '_>) {
    let (new, old, conditions) = (change.new, change.old, f.at("conditions"));
    for c in ["Failed", "Complete", "FailureTarget"] {
        if has(old, c) && !has(new, c) {
            conditions.invalid(Omitted, &format!("cannot disable the terminal {c}=True condition"));
        }
    }
    let spec = new.at("spec");
    let scaling = spec.at("completionMode").is("Indexed") && spec.at("completions").number() == spec.at("parallelism").number();
    for (name, held) in [("failed", true), ("succeeded", !scaling)] {
        let counter = f.at(name);
        if held && counter.int() < old.at("status").at(name).int() {
            counter.invalid(counter.int(), &format!("cannot decrease the {name} counter"));
        }
    }
    let (start, end) = (f.at("startTime"), f.at("completionTime"));
    if end.exists() && old.at("status.completionTime").exists() && change.of("completionTime") {
        end.invalid(own(end.value()), "field is immutable");
    }
    let resuming = has(old, "Suspended") && new.at("status.conditions").items().any(|c| c.at("type").is("Suspended") && c.at("status").is("False"));
    if old.at("status.startTime").exists() && change.of("startTime") && !resuming && !spec.at("suspend").flag() {
        start.invalid(own(start.value()), "field is immutable for unsuspended job once set");
    }
    if has(old, "SuccessCriteriaMet") && !has(new, "SuccessCriteriaMet") {
        conditions.invalid(Omitted, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if has(old, "Complete") && !has(old, "SuccessCriteriaMet") && has(new, "SuccessCriteriaMet") {
        conditions.invalid(Omitted, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
    }
}
