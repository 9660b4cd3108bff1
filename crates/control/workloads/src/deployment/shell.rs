//! Reads, plans, acts.
use super::{
    Deployment, Plan, Set, Snapshot, plan,
    plan::Resize,
    status::{PROGRESSING, new_condition, set},
    view::REVISION,
};
use crate::{
    pod::Pod,
    replicaset::{ReplicaSet, ReplicaSetSpec, ReplicaSetStatus},
    shell::{Deps, edit, namespace_ends, owned, put_annotated, put_status, resource, wake_owner, wake_self},
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
    deployments: Arc<Informer>,
    sets: Arc<Informer>,
    pods: Arc<Informer>,
    wrote: Expectations,
    wrote_sets: Expectations,
}

pub(crate) fn start(deps: Deps) -> (Queue, Arc<dyn Reconcile>) {
    let deployments = deps.informer(&resource::apps("deployments"));
    let (sets, pods) = (deps.informer(&resource::apps("replicasets")), deps.informer(&resource::core("pods")));
    let queue = Queue::new();
    wake_self(&deployments, &queue);
    wake_owner(&sets, &deployments, &queue);
    wake_recreating(&pods, &sets, &deployments, &queue);
    (queue, Arc::new(Controller { deps, deployments, sets, pods, wrote: Expectations::new(), wrote_sets: Expectations::new() }))
}

/// The last old pod of a Recreate rollout is gone: only pods tell, their ReplicaSet is at 0 already.
fn wake_recreating(pods: &Informer, sets: &Arc<Informer>, deployments: &Arc<Informer>, queue: &Queue) {
    let (sets, deployments, queue) = (sets.clone(), deployments.clone(), queue.clone());
    pods.subscribe(move |c| {
        let over = c.new.as_deref().is_none_or(|r| r.deleting);
        let Some(set) = c.row().controller().filter(|_| over).and_then(|uid| crate::shell::by_uid(&sets, uid)) else { return };
        let Some(d) = set.controller().and_then(|uid| crate::shell::by_uid(&deployments, uid)) else { return };
        if Deployment::of(&d).is_ok_and(|d| !d.spec.rolling()) {
            queue.add(d.key.clone());
        }
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.deployments.row(namespace, name) else {
            self.wrote.forget(key);
            self.wrote_sets.forget(key);
            return Ok(Action::Done);
        };
        if !self.wrote.met(key, &self.deployments) || !self.wrote_sets.met(key, &self.sets) {
            return Ok(Action::Done);
        }
        let d = Deployment::of(&row).at("read", key)?;
        let about = d.metadata.regarding("apps/v1", "Deployment");
        if d.spec.selector.is_empty() {
            return self.selects_all(&row, d, &about).await;
        }
        let sets = self.claimed(&d).await?;
        let views: Vec<ReplicaSet> = sets.iter().map(|(_, s)| s.clone()).collect();
        let old_pods_run = !d.spec.rolling() && self.old_pods_run(&d, &views);
        let plan = plan(Snapshot { deployment: d.clone(), sets: views, old_pods_run, now: self.deps.now() });
        self.carry_out(&row, &d, &sets, &plan, &about).await?;
        Ok(plan.again.map_or(Action::Done, |s| Action::RequeueAfter(Duration::from_secs(s as u64))))
    }
}

impl Controller {
    async fn claimed(&self, d: &Deployment) -> Result<Vec<(Arc<Row>, ReplicaSet)>, Failed> {
        let selector = d.spec.selector.parsed();
        let mut rows = self.sets.owned_by(&d.metadata.uid.as_str().into());
        let mut orphans = self.sets.rows(&d.metadata.namespace, &selector);
        orphans.retain(|r| r.controller().is_none());
        rows.extend(orphans);
        let reference = d.metadata.controller_ref("apps/v1", "Deployment");
        let owner = (&resource::apps("deployments"), &d.metadata, &reference);
        owned::<ReplicaSetSpec, ReplicaSetStatus>(&self.deps.client, &resource::apps("replicasets"), &rows, owner, &selector, None).await
    }
    fn old_pods_run(&self, d: &Deployment, sets: &[ReplicaSet]) -> bool {
        let new =
            sets.iter().filter(|s| Set::new((*s).clone()).runs(&d.spec.template)).min_by_key(|s| (s.metadata.creation_timestamp, s.metadata.name.clone()));
        let old = sets.iter().filter(|s| new.is_none_or(|n| n.metadata.uid != s.metadata.uid));
        old.flat_map(|s| self.pods.owned_by(&s.metadata.uid.as_str().into())).filter_map(|r| Pod::of(&r).ok()).any(|p| !p.terminal())
    }
    async fn selects_all(&self, row: &Row, d: Deployment, about: &Regarding) -> Result<Action, Failed> {
        self.deps.recorder.warning(about, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.");
        let mut status = d.status;
        status.observed_generation = d.metadata.generation;
        put_status(&self.deps.client, &resource::apps("deployments"), row, &status).await?;
        Ok(Action::Done)
    }
    async fn carry_out(&self, row: &Row, d: &Deployment, sets: &[(Arc<Row>, ReplicaSet)], plan: &Plan, about: &Regarding) -> Result<(), Failed> {
        let key = &row.key;
        if let Some(object) = &plan.create {
            self.create(row, d, object, about).await?;
        }
        for r in &plan.resize {
            let Some((set, _)) = sets.iter().find(|(_, s)| s.metadata.name == r.name) else { continue };
            self.resize(key, set, r, about).await?;
        }
        for (set, view) in sets.iter().filter(|(_, s)| plan.delete.contains(&s.metadata.name)) {
            let target = Target::new(resource::apps("replicasets"), set.namespace(), set.name());
            match self.deps.client.delete_target(target, &DeleteOptions::default().uid(&view.metadata.uid)).await {
                Err(e) if !e.is(Reason::NotFound) => return Err(e).at("delete replica set", &set.key),
                _ => {}
            }
        }
        self.write_status(row, plan).await
    }
    /// The revision is written with the status: on its own it would count as a change of what is wanted.
    async fn write_status(&self, row: &Row, plan: &Plan) -> Result<(), Failed> {
        let deployments = resource::apps("deployments");
        let written = match &plan.revision {
            Some(revision) => put_annotated(&self.deps.client, &deployments, row, &plan.status, (REVISION, revision)).await?,
            None => put_status(&self.deps.client, &deployments, row, &plan.status).await?,
        };
        if let Some(new) = written {
            self.wrote.wrote(&row.key, &new.revision.to_string());
        }
        Ok(())
    }
    async fn resize(&self, key: &str, set: &Row, r: &Resize, about: &Regarding) -> Result<(), Failed> {
        let change = |v: &mut Value| {
            v["spec"]["replicas"] = r.to.into();
            v["spec"]["minReadySeconds"] = r.min_ready_seconds.into();
            v["metadata"]["annotations"] = skiff_json::json!(r.annotations);
        };
        let bytes = edit(&self.deps.client, &resource::apps("replicasets"), set, change).await?;
        self.wrote_sets.wrote(key, &Head::of(&bytes).unwrap_or_default().resource_version);
        if r.from != r.to {
            let way = if r.from < r.to { "up" } else { "down" };
            self.deps.recorder.normal(about, "ScalingReplicaSet", format!("Scaled {way} replica set {} from {} to {}", r.name, r.from, r.to));
        }
        Ok(())
    }
    async fn create(&self, row: &Row, d: &Deployment, object: &Value, about: &Regarding) -> Result<(), Failed> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let target = Target::new(resource::apps("replicasets"), row.namespace(), "");
        match self.deps.client.create_bytes(target, object.to_string()).await {
            Ok(bytes) => {
                self.wrote_sets.wrote(&row.key, &Head::of(&bytes).unwrap_or_default().resource_version);
                let size = object["spec"]["replicas"].as_i64().unwrap_or(0);
                if size > 0 {
                    self.deps.recorder.normal(about, "ScalingReplicaSet", format!("Scaled up replica set {name} from 0 to {size}"));
                }
                Ok(())
            }
            Err(e) if e.is(Reason::AlreadyExists) => self.collided(row, d, name).await,
            Err(e) => {
                if !namespace_ends(&e) {
                    self.refused(row, d, about, &format!("Failed to create new replica set {name:?}: {e}")).await;
                }
                Err(e).at("create replica set", name)
            }
        }
    }
    /// Ours, only not seen yet; or another template of the same hash, and the next try hashes differently.
    async fn collided(&self, row: &Row, d: &Deployment, name: &str) -> Result<(), Failed> {
        let target = Target::new(resource::apps("replicasets"), row.namespace(), name);
        let bytes = self.deps.client.get_bytes(target).await.at("get replica set", name)?;
        let there = ReplicaSet::read(&bytes).at("read replica set", name)?;
        if there.metadata.controlled_by(&d.metadata.uid) && Set::new(there).runs(&d.spec.template) {
            return Ok(());
        }
        let mut status = d.status.clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        put_status(&self.deps.client, &resource::apps("deployments"), row, &status).await?;
        Err(skiff_meta::Status::already_exists(&resource::apps("replicasets").group_resource(), name)).at("create replica set", name)
    }
    /// Tells why there is no new ReplicaSet; the failure itself is what the caller reports.
    async fn refused(&self, row: &Row, d: &Deployment, about: &Regarding, text: &str) {
        const REASON: &str = "ReplicaSetCreateError";
        self.deps.recorder.warning(about, REASON, text);
        if d.spec.deadline().is_some() {
            let mut status = d.status.clone();
            set(&mut status.conditions, new_condition(PROGRESSING, "False", REASON, text, self.deps.now()));
            if let Err(e) = put_status(&self.deps.client, &resource::apps("deployments"), row, &status).await {
                tracing::debug!(target: "controller", key = &*row.key, step = %e, why = %e.source, "status not written");
            }
        }
    }
}
