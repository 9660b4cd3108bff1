//! Pods that were to be disrupted and were not: their DisruptionTarget condition is taken back after two minutes.
use crate::{
    pod::Pod,
    shell::{Deps, put_status, resource},
    view::{Time, condition},
};
use skiff_controller::{Action, At, Failed, Queue};
use skiff_informer::{Informer, Row};
use skiff_json::{Value, json};
use skiff_meta::Status;
use std::time::Duration;

/// Keys of pods, beside those of budgets.
pub(super) const KEY: &str = "pod:";
const TARGET: &str = "DisruptionTarget";
const AFTER_SECONDS: i64 = 120;

pub(super) fn wake(pods: &Informer, queue: &Queue) {
    let queue = queue.clone();
    pods.subscribe(move |c| {
        let marked = |r: &Row| !r.deleting && r.mentions(TARGET);
        if c.new.as_deref().is_some_and(marked) {
            queue.add(format!("{KEY}{}", c.key()));
        }
    });
}

/// Seconds until the condition is stale; None when there is nothing to take back.
fn stale_in(pod: &Pod, now: Time) -> Option<i64> {
    let c = condition(&pod.status.conditions, TARGET)?;
    let stands = c.status == "True" && c.reason != "TerminationByKubelet" && pod.active();
    stands.then(|| (c.last_transition_time.map_or(0, |t| t.0) + AFTER_SECONDS - now.0).max(0))
}

pub(super) async fn reconcile(deps: &Deps, pods: &Informer, key: &str) -> Result<Action, Failed> {
    let Some(row) = pods.row_at(key) else { return Ok(Action::Done) };
    let pod = Pod::of(&row).at("read", key)?;
    match stale_in(&pod, deps.now()) {
        None => return Ok(Action::Done),
        Some(0) => {}
        Some(left) => return Ok(Action::RequeueAfter(Duration::from_secs(left as u64))),
    }
    let mut object: Value = skiff_json::from_slice(&row.bytes).map_err(Status::internal).at("read", key)?;
    for c in object["status"]["conditions"].as_array_mut().into_iter().flatten().filter(|c| c["type"] == TARGET) {
        *c = json!({"type": TARGET, "status": "False", "lastTransitionTime": deps.now()});
    }
    put_status(&deps.client, &resource::core("pods"), &row, &object["status"]).await?;
    Ok(Action::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pod::tests::pod, view::Condition};
    #[test]
    fn stale_after_two_minutes() {
        let mut p = pod("a", "Running", None, "x");
        assert_eq!(stale_in(&p, Time(500)), None);
        p.status.conditions = vec![Condition { kind: TARGET.into(), status: "True".into(), last_transition_time: Some(Time(400)), ..Default::default() }];
        assert_eq!((stale_in(&p, Time(500)), stale_in(&p, Time(521))), (Some(20), Some(0)));
        p.metadata.deletion_timestamp = Some(Time(450));
        assert_eq!(stale_in(&p, Time(521)), None);
    }
}
