//! Deletes jobs some time after they are over (`ttlSecondsAfterFinished`).
use super::view::{Job, over};
use crate::{
    shell::{Deps, resource},
    view::Time,
};
use async_trait::async_trait;
use skiff_client::{DeleteOptions, Target};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Informer, split_key};
use skiff_meta::Reason;
use std::{sync::Arc, time::Duration};

/// When a job goes; None while it runs or when it stays.
pub fn expiry(job: &Job) -> Option<Time> {
    let ttl = job.spec.ttl_seconds_after_finished?;
    let ended = over(&job.status)?.last_transition_time?;
    (!job.metadata.deleting()).then_some(Time(ended.0 + ttl))
}

struct Controller {
    deps: Deps,
    jobs: Arc<Informer>,
}

pub(crate) fn start(deps: Deps) -> (Queue, Arc<dyn Reconcile>) {
    let jobs = deps.informer(&resource::batch("jobs"));
    let queue = Queue::new();
    let q = queue.clone();
    jobs.subscribe(move |c| {
        let due = c.new.as_deref().is_some_and(|r| Job::of(r).is_ok_and(|j| expiry(&j).is_some()));
        if due {
            q.add(c.key());
        }
    });
    (queue, Arc::new(Controller { deps, jobs }))
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.jobs.row(namespace, name) else { return Ok(Action::Done) };
        let job = Job::of(&row).at("read", key)?;
        let Some(at) = expiry(&job) else { return Ok(Action::Done) };
        let left = at.0 - self.deps.now().0;
        if left > 0 {
            return Ok(Action::RequeueAfter(Duration::from_secs(left as u64)));
        }
        let target = Target::new(resource::batch("jobs"), namespace, name);
        // Its time-to-live may have been raised since: the version that was read, or none.
        let mut options = DeleteOptions { propagation_policy: Some("Foreground"), ..DeleteOptions::default().uid(&job.metadata.uid) };
        if let Some(p) = &mut options.preconditions {
            p.resource_version = Some(job.metadata.resource_version.clone());
        }
        match self.deps.client.delete_target(target, &options).await {
            Err(e) if !e.is(Reason::NotFound) => Err(e).at("delete job", key),
            _ => Ok(Action::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn only_ended_jobs_expire() {
        let job = |spec, conditions| -> Job { skiff_json::from_value(json!({"spec": spec, "status": {"conditions": conditions}})).unwrap() };
        let ended = json!([{"type": "Failed", "status": "True", "lastTransitionTime": "1970-01-01T00:01:40Z"}]);
        assert_eq!(expiry(&job(json!({"ttlSecondsAfterFinished": 5}), ended.clone())), Some(Time(105)));
        assert_eq!(expiry(&job(json!({}), ended)), None);
        assert_eq!(expiry(&job(json!({"ttlSecondsAfterFinished": 5}), json!([]))), None);
    }
}
