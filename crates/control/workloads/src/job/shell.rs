//! Reads, plans, acts.
use super::{
    Backoff, Job, Plan, Snapshot,
    count::{finish, settle},
    plan,
    template::complete,
    view::{FINALIZER, MANAGER, over, tracked},
};
use crate::{
    pod::{Pod, PodSpec, PodStatus},
    shell::{Deps, PodControl, by_uid, namespace_ends, owned, put_status, resource, slow_start, wake_owner, wake_self},
    view::{Meta, OwnerRef},
};
use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;
use skiff_client::{PatchBody, Target};
use skiff_controller::{Action, At, Expectations, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{ChangeKind, Informer, Row, split_key};
use skiff_json::{Value, json};
use skiff_meta::{Head, Reason, Status};
use std::{collections::HashMap, sync::Arc, time::Duration};

struct Controller {
    deps: Deps,
    jobs: Arc<Informer>,
    pods: Arc<Informer>,
    expect: Expectations,
    wrote: Expectations,
    backoffs: Mutex<HashMap<String, Backoff>>,
}

/// Keys of pods that no job tracks any more.
const STRAY: &str = "pod:";

pub(crate) fn start(deps: Deps) -> (Queue, Arc<dyn Reconcile>) {
    let (jobs, pods) = (deps.informer(&resource::batch("jobs")), deps.informer(&resource::core("pods")));
    let queue = Queue::new();
    wake_self(&jobs, &queue);
    wake_owner(&pods, &jobs, &queue);
    wake_strays(&jobs, &pods, &queue);
    (queue, Arc::new(Controller { deps, jobs, pods, expect: Expectations::new(), wrote: Expectations::new(), backoffs: Mutex::default() }))
}

/// Pods that carry the finalizer while their job is gone would never go.
fn wake_strays(jobs: &Arc<Informer>, pods: &Arc<Informer>, queue: &Queue) {
    let (q, all) = (queue.clone(), pods.clone());
    jobs.subscribe(move |c| {
        if c.kind == ChangeKind::Deleted {
            all.owned_by(&c.row().uid).iter().for_each(|p| q.add(format!("{STRAY}{}", p.key)));
        }
    });
    let (q, jobs) = (queue.clone(), jobs.clone());
    pods.subscribe(move |c| {
        let Some(row) = c.new.as_deref() else { return };
        let untracked = row.controller().is_none_or(|uid| row.deleting && by_uid(&jobs, uid).is_none());
        if untracked && holds_finalizer(row) {
            q.add(format!("{STRAY}{}", row.key));
        }
    });
}

fn holds_finalizer(row: &Row) -> bool {
    row.mentions(FINALIZER) && Pod::of(row).is_ok_and(|p| tracked(&p))
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        if let Some(pod) = key.strip_prefix(STRAY) {
            return self.let_go(pod).await;
        }
        let (namespace, name) = split_key(key);
        let Some(row) = self.jobs.row(namespace, name) else {
            [&self.expect, &self.wrote].iter().for_each(|e| e.forget(key));
            self.backoffs.lock().remove(key);
            return Ok(Action::Done);
        };
        if !self.expect.met(key, &self.pods) || !self.wrote.met(key, &self.jobs) {
            return Ok(Action::Done);
        }
        let job = Job::of(&row).at("read", key)?;
        let elsewhere = job.spec.managed_by.as_deref().is_some_and(|m| m != MANAGER);
        if elsewhere || over(&job.status).is_some() {
            self.backoffs.lock().remove(key);
            return Ok(Action::Done);
        }
        self.pass(&row, &job).await
    }
}

impl Controller {
    async fn pass(&self, row: &Row, job: &Job) -> Result<Action, Failed> {
        let reference = job.metadata.controller_ref("batch/v1", "Job");
        let about = job.metadata.regarding("batch/v1", "Job");
        let pods = self.claimed(job, &reference).await?;
        let key = job.metadata.key();
        let backoff = self.backoffs.lock().get(&key).cloned().unwrap_or_default();
        let mut plan = plan(&Snapshot { job, pods: &pods, backoff: &backoff, now: self.deps.now() });
        let control = PodControl { deps: &self.deps, expect: &self.expect, owner: &job.metadata, reference: &reference, about: &about };
        let acted = self.act(&control, job, &pods, &plan).await;
        if acted.is_err() {
            // How far it came shows in the next pass; an end waits until all was deleted.
            plan.status.active = pods.iter().filter(|p| p.active()).count() as i64;
            plan.end = None;
        }
        if let Some((reason, text)) = plan.told {
            self.deps.recorder.normal(&about, reason, text);
        }
        self.write(row, job, &pods, &plan, &about).await?;
        acted?;
        Ok(plan.again.map_or(Action::Done, |s| Action::RequeueAfter(Duration::from_secs(s.max(1) as u64))))
    }
    async fn claimed(&self, job: &Job, reference: &OwnerRef) -> Result<Vec<Pod>, Failed> {
        let selector = job.spec.selector.parsed();
        let mut rows = self.pods.owned_by(&job.metadata.uid.as_str().into());
        let mut orphans = self.pods.rows(&job.metadata.namespace, &selector);
        orphans.retain(|r| r.controller().is_none());
        rows.extend(orphans);
        let owner = (&resource::batch("jobs"), &job.metadata, reference);
        let mine = owned::<PodSpec, PodStatus>(&self.deps.client, &resource::core("pods"), &rows, owner, &selector, Some(FINALIZER)).await?;
        Ok(mine.into_iter().map(|(_, p)| p).collect())
    }
    async fn act(&self, control: &PodControl<'_>, job: &Job, pods: &[Pod], plan: &Plan) -> Result<(), Failed> {
        let doomed: Vec<&Meta> = pods.iter().map(|p| &p.metadata).filter(|m| plan.delete.contains(&m.uid)).collect();
        if plan.drop_finalizers {
            join_all(doomed.iter().map(|m| self.release(control.owner, m))).await.into_iter().collect::<Result<Vec<bool>, Failed>>()?;
        }
        control.delete_all(doomed).await?;
        let base = control.pod(&job.spec.template);
        let made = slow_start(plan.create.iter().collect(), |new| {
            let mut pod = base.clone();
            complete(job, &mut pod, new);
            async move { control.create(&pod).await }
        })
        .await;
        match made {
            Err(e) if namespace_ends(&e.source) => Ok(()),
            made => made,
        }
    }
    /// First the uids, then the finalizers, then the counts and, if that was all, the end.
    async fn write(&self, row: &Row, job: &Job, pods: &[Pod], plan: &Plan, about: &Regarding) -> Result<(), Failed> {
        let key = job.metadata.key();
        let first = put_status(&self.deps.client, &resource::batch("jobs"), row, &plan.status).await?;
        self.backoffs.lock().insert(key.clone(), plan.backoff.clone());
        let row = first.as_ref().unwrap_or(row);
        self.wrote.wrote(&key, &row.revision.to_string());
        let leaving: Vec<&Meta> = pods.iter().map(|p| &p.metadata).filter(|m| plan.release.contains(&m.uid)).collect();
        let released = join_all(leaving.iter().map(|m| self.release(&job.metadata, m))).await;
        let gone: Vec<&str> = leaving.iter().zip(&released).filter(|(_, r)| r.is_ok()).map(|(m, _)| m.uid.as_str()).collect();
        let mut status = plan.status.clone();
        settle(&mut status, |uid| !gone.contains(&uid));
        let ended = plan.end.as_ref().filter(|end| finish(&mut status, end));
        if super::view::Job::of(row).is_ok_and(|j| j.status != status)
            && let Some(new) = put_status(&self.deps.client, &resource::batch("jobs"), row, &status).await?
        {
            self.wrote.wrote(&key, &new.revision.to_string());
        }
        if let Some(end) = ended {
            self.tell_end(about, job, status.succeeded, end);
        }
        released.into_iter().collect::<Result<Vec<bool>, Failed>>().map(drop)
    }
    fn tell_end(&self, about: &Regarding, job: &Job, succeeded: i64, end: &crate::view::Condition) {
        if end.kind != "Complete" {
            return self.deps.recorder.event(about, skiff_controller::EventType::Warning, &end.reason, end.message.clone());
        }
        if job.spec.completions.is_some_and(|n| succeeded > n) {
            self.deps.recorder.warning(about, "TooManySucceededPods", "Too many succeeded pods running after completion count reached");
        }
        self.deps.recorder.normal(about, "Completed", "Job completed");
    }
    /// Takes the finalizer off; a pod that is gone is as good.
    async fn release(&self, job: &Meta, pod: &Meta) -> Result<bool, Failed> {
        if !pod.finalizers.iter().any(|f| f == FINALIZER) {
            return Ok(false);
        }
        match self.patch_finalizer(pod).await {
            Ok(bytes) => {
                self.expect.wrote(&job.key(), &Head::of(&bytes).unwrap_or_default().resource_version);
                Ok(true)
            }
            Err(e) if e.is(Reason::NotFound) => Ok(true),
            Err(e) => Err(e).at("take the tracking finalizer off", pod.key()),
        }
    }
    async fn patch_finalizer(&self, pod: &Meta) -> Result<bytes::Bytes, Status> {
        let patch: Value = json!({"metadata": {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
        self.deps.client.patch_bytes(Target::new(resource::core("pods"), pod.namespace.as_str(), pod.name.as_str()), PatchBody::strategic(&patch)).await
    }
    async fn let_go(&self, key: &str) -> Result<Action, Failed> {
        let Some(row) = self.pods.row_at(key) else { return Ok(Action::Done) };
        let pod = Pod::of(&row).at("read", key)?;
        let has_job = row.controller().is_some_and(|uid| by_uid(&self.jobs, uid).is_some());
        let other = pod.metadata.controller().is_some_and(|c| c.kind != "Job");
        if has_job || other || !tracked(&pod) {
            return Ok(Action::Done);
        }
        match self.patch_finalizer(&pod.metadata).await {
            Err(e) if !e.is(Reason::NotFound) => Err(e).at("take the tracking finalizer off", key),
            _ => Ok(Action::Done),
        }
    }
}
