//! Conditions and counts.
use super::view::{Deployment, DeploymentSpec, DeploymentStatus, Set};
use crate::view::{Condition, Time, condition};

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const FAILURE: &str = "ReplicaFailure";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const COMPLETE: &str = "NewReplicaSetAvailable";

pub(super) fn new_condition(kind: &str, status: &str, reason: &str, message: impl Into<String>, now: Time) -> Condition {
    Condition {
        kind: kind.into(),
        status: status.into(),
        last_update_time: Some(now),
        last_transition_time: Some(now),
        reason: reason.into(),
        message: message.into(),
        ..Default::default()
    }
}

/// Replaces a condition unless status and reason are what they were; the transition is of the status alone.
pub(super) fn set(all: &mut Vec<Condition>, mut new: Condition) {
    if let Some(old) = condition(all, &new.kind) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time;
        }
    }
    all.retain(|c| c.kind != new.kind);
    all.push(new);
}

/// Says that progress is not measured while paused, and begins again on resume.
pub(super) fn pause(spec: &DeploymentSpec, all: &mut Vec<Condition>, now: Time) {
    let reason = condition(all, PROGRESSING).map_or("", |c| c.reason.as_str());
    if spec.deadline().is_none() || reason == TIMED_OUT {
        return;
    }
    match (spec.paused, reason == "DeploymentPaused") {
        (true, false) => set(all, new_condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now)),
        (false, true) => set(all, new_condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now)),
        _ => {}
    }
}

/// Counts as the ReplicaSets report them, and Available. `d.status.conditions` are carried over.
pub(super) fn counts(d: &Deployment, sets: &[Set], new: Option<usize>, now: Time) -> DeploymentStatus {
    let sum = |f: &dyn Fn(&Set) -> i64| sets.iter().map(f).sum::<i64>();
    let available = sum(&|s| s.rs.status.available_replicas);
    let mut status = DeploymentStatus {
        observed_generation: d.metadata.generation,
        replicas: sum(&|s| s.rs.status.replicas),
        updated_replicas: new.and_then(|i| sets.get(i)).map_or(0, |s| s.rs.status.replicas),
        ready_replicas: sum(&|s| s.rs.status.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (sum(&|s| s.size) - available).max(0),
        terminating_replicas: terminating(sets),
        conditions: d.status.conditions.clone(),
        collision_count: d.status.collision_count,
    };
    let enough = available >= d.spec.replicas - d.spec.max_unavailable();
    let c = match enough {
        true => new_condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now),
        false => new_condition(AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now),
    };
    set(&mut status.conditions, c);
    status
}

/// None when a ReplicaSet that has been observed does not say.
fn terminating(sets: &[Set]) -> Option<i64> {
    sets.iter().filter(|s| s.rs.status.observed_generation > 0 || s.rs.status.terminating_replicas.is_some()).map(|s| s.rs.status.terminating_replicas).sum()
}

pub(super) fn complete(d: &Deployment, s: &DeploymentStatus) -> bool {
    let n = d.spec.replicas;
    s.updated_replicas == n && s.replicas == n && s.available_replicas == n && s.observed_generation >= d.metadata.generation
}

fn moved(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    new.updated_replicas > old.updated_replicas
        || new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

fn timed_out(spec: &DeploymentSpec, c: Option<&Condition>, now: Time) -> bool {
    match (spec.deadline(), c) {
        (Some(_), Some(c)) if c.reason == TIMED_OUT => true,
        (Some(s), Some(c)) if c.reason != COMPLETE => c.last_update_time.is_some_and(|t| t.0 + s < now.0),
        _ => false,
    }
}

/// The status during a rollout: progress, its end, or that it takes too long.
pub(super) fn rollout(d: &Deployment, sets: &[Set], new: Option<usize>, now: Time) -> DeploymentStatus {
    let mut status = counts(d, sets, new, now);
    let current = condition(&d.status.conditions, PROGRESSING);
    let settled = status.replicas == status.updated_replicas && current.is_some_and(|c| c.reason == COMPLETE);
    let what = new.and_then(|i| sets.get(i)).map_or_else(|| format!("Deployment {:?}", d.metadata.name), |s| format!("ReplicaSet {:?}", s.name()));
    match d.spec.deadline() {
        None => status.conditions.retain(|c| c.kind != PROGRESSING),
        Some(_) if settled => {}
        Some(_) if complete(d, &status) => {
            set(&mut status.conditions, new_condition(PROGRESSING, "True", COMPLETE, format!("{what} has successfully progressed."), now));
        }
        Some(_) if moved(&d.status, &status) => {
            let mut c = new_condition(PROGRESSING, "True", "ReplicaSetUpdated", format!("{what} is progressing."), now);
            if let Some(old) = current.filter(|c| c.status == "True") {
                c.last_transition_time = old.last_transition_time;
            }
            status.conditions.retain(|c| c.kind != PROGRESSING);
            status.conditions.push(c);
        }
        Some(_) if timed_out(&d.spec, condition(&status.conditions, PROGRESSING), now) => {
            set(&mut status.conditions, new_condition(PROGRESSING, "False", TIMED_OUT, format!("{what} has timed out progressing."), now));
        }
        Some(_) => {}
    }
    match failure(sets, new) {
        Some(c) => set(&mut status.conditions, c),
        None => status.conditions.retain(|c| c.kind != FAILURE),
    }
    status
}

/// The new ReplicaSet's failure, or else any other's.
fn failure(sets: &[Set], new: Option<usize>) -> Option<Condition> {
    let of = |s: &Set| condition(&s.rs.status.conditions, FAILURE).map(|c| Condition { last_update_time: c.last_transition_time, ..c.clone() });
    new.and_then(|i| sets.get(i)).and_then(of).or_else(|| sets.iter().find_map(of))
}

/// Seconds until a rollout that shows no progress must be looked at for its deadline.
pub(super) fn check_in(d: &Deployment, status: &DeploymentStatus, now: Time) -> Option<i64> {
    let c = condition(&status.conditions, PROGRESSING)?;
    let deadline = d.spec.deadline()?;
    if complete(d, status) || c.reason == TIMED_OUT {
        return None;
    }
    Some((c.last_update_time?.0 + deadline - now.0).max(0) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn deployment(status: skiff_json::Value) -> Deployment {
        skiff_json::from_value(json!({"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 2, "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate"}}, "status": status})).unwrap()
    }
    fn set_of(n: i64) -> Set {
        Set::new(skiff_json::from_value(json!({"metadata": {"name": "web-x"}, "spec": {"replicas": 2}, "status": {"observedGeneration": 1, "replicas": n, "readyReplicas": n, "availableReplicas": n, "terminatingReplicas": 1}})).unwrap())
    }
    fn reason(s: &DeploymentStatus) -> (String, String) {
        let c = condition(&s.conditions, PROGRESSING).unwrap();
        (c.reason.clone(), c.message.clone())
    }

    #[test]
    fn a_rollout_progresses_completes_or_times_out() {
        let progressing = json!({"conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated", "lastUpdateTime": "1970-01-01T00:00:00Z", "lastTransitionTime": "1970-01-01T00:00:00Z"}]});
        let d = deployment(progressing);
        let s = rollout(&d, &[set_of(1)], Some(0), Time(10));
        assert_eq!(reason(&s), ("ReplicaSetUpdated".into(), "ReplicaSet \"web-x\" is progressing.".into()));
        assert_eq!(condition(&s.conditions, PROGRESSING).unwrap().last_transition_time, Some(Time(0)));
        assert_eq!((s.unavailable_replicas, s.terminating_replicas), (1, Some(1)));
        let done = rollout(&d, &[set_of(2)], Some(0), Time(10));
        assert_eq!(reason(&done), ("NewReplicaSetAvailable".into(), "ReplicaSet \"web-x\" has successfully progressed.".into()));
        assert_eq!(check_in(&d, &done, Time(10)), None);
        let stuck = rollout(&d, &[set_of(0)], Some(0), Time(700));
        assert_eq!(reason(&stuck).0, "ProgressDeadlineExceeded");
        let waiting = rollout(&d, &[set_of(0)], Some(0), Time(100));
        assert_eq!(check_in(&d, &waiting, Time(100)), Some(501));
        assert_eq!(condition(&waiting.conditions, AVAILABLE).unwrap().reason, "MinimumReplicasUnavailable");
    }

    #[test]
    fn pausing_is_told_once() {
        let mut d = deployment(json!({}));
        d.spec.paused = true;
        pause(&d.spec, &mut d.status.conditions, Time(1));
        pause(&d.spec, &mut d.status.conditions, Time(2));
        assert_eq!(d.status.conditions[0].last_update_time, Some(Time(1)));
        d.spec.paused = false;
        pause(&d.spec, &mut d.status.conditions, Time(3));
        assert_eq!(d.status.conditions[0].reason, "DeploymentResumed");
    }
}
