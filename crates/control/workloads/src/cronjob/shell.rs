//! Reads, plans, acts.
use super::{CronJob, Plan, Snapshot, plan, view::JobRef};
use crate::{
    job::Job,
    shell::{Deps, namespace_ends, put_status, resource, wake_owner, wake_self},
};
use async_trait::async_trait;
use skiff_client::{DeleteOptions, Target};
use skiff_controller::{Action, At, Expectations, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Informer, Row, split_key};
use skiff_json::Value;
use skiff_meta::{Head, Reason};
use std::{sync::Arc, time::Duration};

struct Controller {
    deps: Deps,
    crons: Arc<Informer>,
    jobs: Arc<Informer>,
    expect: Expectations,
    wrote: Expectations,
}

pub(crate) fn start(deps: Deps) -> (Queue, Arc<dyn Reconcile>) {
    let (crons, jobs) = (deps.informer(&resource::batch("cronjobs")), deps.informer(&resource::batch("jobs")));
    let queue = Queue::new();
    wake_self(&crons, &queue);
    wake_owner(&jobs, &crons, &queue);
    (queue, Arc::new(Controller { deps, crons, jobs, expect: Expectations::new(), wrote: Expectations::new() }))
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.crons.row(namespace, name) else {
            [&self.expect, &self.wrote].iter().for_each(|e| e.forget(key));
            return Ok(Action::Done);
        };
        if !self.expect.met(key, &self.jobs) || !self.wrote.met(key, &self.crons) {
            return Ok(Action::Done);
        }
        let cron = CronJob::of(&row).at("read", key)?;
        let rows = self.jobs.owned_by(&row.uid);
        let jobs: Vec<Job> = rows.iter().filter(|r| r.controller() == Some(&row.uid)).filter_map(|r| Job::of(r).ok()).collect();
        let mut plan = plan(&Snapshot { cron: &cron, jobs: &jobs, now: self.deps.now() });
        let about = cron.metadata.regarding("batch/v1", "CronJob");
        for told in &plan.told {
            self.deps.recorder.event(&about, told.0, told.1, told.2.clone());
        }
        let acted = self.act(&row, &cron, &mut plan, &about).await;
        if acted.is_err() {
            plan.status.last_schedule_time = cron.status.last_schedule_time;
        }
        if let Some(new) = put_status(&self.deps.client, &resource::batch("cronjobs"), &row, &plan.status).await? {
            self.wrote.wrote(key, &new.revision.to_string());
        }
        acted?;
        Ok(plan.again.map_or(Action::Done, |s| Action::RequeueAfter(Duration::from_secs(s.max(1) as u64))))
    }
}

impl Controller {
    async fn act(&self, row: &Row, cron: &CronJob, plan: &mut Plan, about: &Regarding) -> Result<(), Failed> {
        let options = DeleteOptions { propagation_policy: Some("Background"), ..Default::default() };
        for name in &plan.delete {
            match self.deps.client.delete_target(Target::new(resource::batch("jobs"), row.namespace(), name.as_str()), &options).await {
                Err(e) if !e.is(Reason::NotFound) => {
                    self.deps.recorder.warning(about, "FailedDelete", format!("Deleted job: {e}"));
                    return Err(e).at("delete job", name);
                }
                _ => self.deps.recorder.normal(about, "SuccessfulDelete", format!("Deleted job {name}")),
            }
        }
        let Some(job) = &plan.create else { return Ok(()) };
        let made = self.create(row, cron, job, about).await?;
        plan.status.active.extend(made);
        Ok(())
    }
    /// A job of the name that is ours counts as made; another's is left alone.
    async fn create(&self, row: &Row, cron: &CronJob, job: &Value, about: &Regarding) -> Result<Option<JobRef>, Failed> {
        let name = job["metadata"]["name"].as_str().unwrap_or_default();
        let target = Target::new(resource::batch("jobs"), row.namespace(), "");
        let bytes = match self.deps.client.create_bytes(target.clone(), job.to_string()).await {
            Ok(bytes) => {
                self.deps.recorder.normal(about, "SuccessfulCreate", format!("Created job {name}"));
                bytes
            }
            Err(e) if e.is(Reason::AlreadyExists) => {
                let bytes = self.deps.client.get_bytes(Target { name: name.into(), ..target }).await.at("get job", name)?;
                let there = Job::read(&bytes).at("read job", name)?;
                if !there.metadata.controlled_by(&cron.metadata.uid) {
                    return Ok(None);
                }
                bytes
            }
            Err(e) => {
                if !namespace_ends(&e) {
                    self.deps.recorder.warning(about, "FailedCreate", format!("Error creating job: {e}"));
                }
                return Err(e).at("create job", name);
            }
        };
        let head = Head::of(&bytes).unwrap_or_default();
        self.expect.wrote(&row.key, &head.resource_version);
        Ok(Some(JobRef {
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            name: head.name,
            namespace: row.namespace().into(),
            uid: head.uid,
            resource_version: head.resource_version,
        }))
    }
}
