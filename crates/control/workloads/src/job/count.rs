//! From ended pods to counts, and from counts to the end.
use super::view::JobStatus;
use crate::view::{Condition, Time};

/// Moves uids whose pods carry the finalizer no more (`tracked` says which still do) into the counts.
pub fn settle(status: &mut JobStatus, tracked: impl Fn(&str) -> bool) {
    let u = status.uncounted_terminated_pods.get_or_insert_default();
    let done = |list: &mut Vec<String>| {
        let before = list.len();
        list.retain(|uid| tracked(uid));
        (before - list.len()) as i64
    };
    let (succeeded, failed) = (done(&mut u.succeeded), done(&mut u.failed));
    status.succeeded += succeeded;
    status.failed += failed;
}

pub(super) fn new_condition(kind: &str, status: &str, reason: &str, message: &str, now: Time) -> Condition {
    Condition {
        kind: kind.into(),
        status: status.into(),
        last_probe_time: Some(now),
        last_transition_time: Some(now),
        reason: reason.into(),
        message: message.into(),
        ..Default::default()
    }
}

/// Sets a condition; a first one that is False is not written. Whether that changed anything.
pub(super) fn ensure(all: &mut Vec<Condition>, new: Condition) -> bool {
    match all.iter_mut().find(|c| c.kind == new.kind) {
        Some(old) if old.status == new.status && old.reason == new.reason && old.message == new.message => false,
        Some(old) => {
            *old = new;
            true
        }
        None if new.status == "False" => false,
        None => {
            all.push(new);
            true
        }
    }
}

/// Writes the end once no pod is uncounted or on its way out. Whether it did.
pub fn finish(status: &mut JobStatus, end: &Condition) -> bool {
    let waiting = status.uncounted_terminated_pods.as_ref().is_some_and(|u| !u.succeeded.is_empty() || !u.failed.is_empty());
    if waiting || status.terminating.unwrap_or(0) > 0 {
        return false;
    }
    if end.kind == "Complete" {
        status.completion_time = end.last_transition_time;
    }
    ensure(&mut status.conditions, end.clone());
    true
}
