//! How long to wait before a failed pod is replaced.
use crate::{
    pod::{ContainerStatus, Pod},
    view::Time,
};

const FIRST: i64 = 10;
const MOST: i64 = 600;

/// Failures since the last success.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backoff {
    failures: i64,
    last: Option<Time>,
}

impl Backoff {
    /// With pods that have ended since.
    pub fn with(&self, succeeded: &[&Pod], failed: &[&Pod]) -> Self {
        let last_success = succeeded.iter().map(|p| finished(p)).max();
        let mut failures: Vec<Time> = failed.iter().map(|p| finished(p)).collect();
        let before = match last_success {
            None => self.clone(),
            Some(success) => {
                failures.retain(|t| *t > success);
                Self::default()
            }
        };
        let last = failures.iter().max().copied().or(before.last);
        Self { failures: before.failures + failures.len() as i64, last }
    }
    /// Seconds left.
    pub fn wait(&self, now: Time) -> i64 {
        self.last.map_or(0, |last| wait(self.failures, last, now))
    }
}

/// Seconds left after so many failures in a row, the last at `last`.
pub fn wait(failures: i64, last: Time, now: Time) -> i64 {
    if failures == 0 {
        return 0;
    }
    let exponent = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(10);
    (last.0 + (FIRST << exponent).min(MOST) - now.0).max(0)
}

/// When a pod ended: by its containers, else when it stopped being ready, else when it was to be gone.
pub fn finished(p: &Pod) -> Time {
    let unready = p.ready_condition().filter(|c| c.status == "False").and_then(|c| c.last_transition_time);
    let deleted = || p.metadata.deletion_timestamp.map(|t| Time(t.0 - p.metadata.deletion_grace_period_seconds.unwrap_or(0)));
    by_containers(p).or(unready).or_else(deleted).or(p.metadata.creation_timestamp).unwrap_or(Time(0))
}

fn by_containers(p: &Pod) -> Option<Time> {
    let sidecar = |c: &&ContainerStatus| p.spec.init_containers.iter().any(|i| i.name == c.name && i.restart_policy == "Always");
    let all = p.status.container_statuses.iter().chain(p.status.init_container_statuses.iter().filter(sidecar));
    let times: Option<Vec<Time>> = all.map(|c| c.state.terminated.as_ref().and_then(|t| t.finished_at)).collect();
    times?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn ended(at: i64) -> Pod {
        skiff_json::from_value(json!({"status": {"containerStatuses": [{"name": "c", "state": {"terminated": {"finishedAt": crate::view::Time(at)}}}]}}))
            .unwrap()
    }

    #[test]
    fn failures_double_the_wait_and_a_success_ends_it() {
        let (a, b, ok) = (ended(100), ended(200), ended(150));
        let one = Backoff::default().with(&[], &[&a]);
        assert_eq!((one.wait(Time(100)), one.wait(Time(105)), one.wait(Time(111))), (10, 5, 0));
        assert_eq!(one.with(&[], &[&b]).wait(Time(200)), 20);
        assert_eq!(one.with(&[&ok], &[&b]).wait(Time(200)), 10);
        assert_eq!(one.with(&[&ok], &[]).wait(Time(150)), 0);
        assert_eq!(wait(50, Time(0), Time(0)), 600);
    }
}
