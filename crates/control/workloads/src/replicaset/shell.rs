//! Reads, plans, acts.
use super::{ReplicaSet, either_selector, plan, status};
use crate::{
    pod::{Pod, PodSpec, PodStatus},
    shell::{Deps, PodControl, by_uid, namespace_ends, owned, put_status, resource, slow_start, wake_counter, wake_self},
    view::{Meta, OwnerRef},
};
use async_trait::async_trait;
use skiff_controller::{Action, At, Expectations, Failed, Queue, Reconcile};
use skiff_informer::{Informer, Row, split_key};
use skiff_meta::{GroupVersionResource, LabelSelector};
use std::{sync::Arc, time::Duration};

/// Which of the two kinds that work alike.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    ReplicaSet,
    ReplicationController,
}

impl Flavour {
    fn resource(self) -> GroupVersionResource {
        match self {
            Flavour::ReplicaSet => resource::apps("replicasets"),
            Flavour::ReplicationController => resource::core("replicationcontrollers"),
        }
    }
    fn kind(self) -> (&'static str, &'static str) {
        match self {
            Flavour::ReplicaSet => ("apps/v1", "ReplicaSet"),
            Flavour::ReplicationController => ("v1", "ReplicationController"),
        }
    }
}

struct Controller {
    flavour: Flavour,
    deps: Deps,
    sets: Arc<Informer>,
    pods: Arc<Informer>,
    expect: Expectations,
}

/// The queue, filled by informers, and what takes keys from it.
pub(crate) fn start(deps: Deps, flavour: Flavour) -> (Queue, Arc<dyn Reconcile>) {
    let (sets, pods) = (deps.informer(&flavour.resource()), deps.informer(&resource::core("pods")));
    let queue = Queue::new();
    wake_self(&sets, &queue);
    wake_counter(&pods, &sets, &queue);
    (queue, Arc::new(Controller { flavour, deps, sets, pods, expect: Expectations::new() }))
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.sets.row(namespace, name) else {
            self.expect.forget(key);
            return Ok(Action::Done);
        };
        let rs = ReplicaSet::of(&row).at("read", key)?;
        let settled = self.expect.met(key, &self.pods);
        let (api_version, kind) = self.flavour.kind();
        let reference = rs.metadata.controller_ref(api_version, kind);
        let pods = self.claimed(&rs, &reference).await?;
        let acted = match settled && !rs.metadata.deleting() {
            true => self.act(&row, &rs, &reference, &pods).await,
            false => Ok(()),
        };
        let failure = acted.as_ref().err().map(|e| e.source.to_string());
        let (mut new, wait) = status(&rs, &pods, failure.as_deref(), self.deps.now());
        if self.flavour == Flavour::ReplicationController {
            new.terminating_replicas = None;
        }
        put_status(&self.deps.client, &self.flavour.resource(), &row, &new).await?;
        acted?;
        Ok(wait.map_or(Action::Done, |s| Action::RequeueAfter(Duration::from_secs(s.max(1) as u64))))
    }
}

impl Controller {
    /// Its own pods, and orphans that it selects. Those that are over are neither adopted nor released.
    async fn claimed(&self, rs: &ReplicaSet, reference: &OwnerRef) -> Result<Vec<Pod>, Failed> {
        let selector = either_selector(&rs.spec.selector);
        let uid = rs.metadata.uid.as_str().into();
        let mut rows = self.pods.owned_by(&uid);
        if !rs.metadata.deleting() {
            rows.extend(self.orphans(&rs.metadata, &selector));
        }
        let owner = (&self.flavour.resource(), &rs.metadata, reference);
        let mine = owned::<PodSpec, PodStatus>(&self.deps.client, &resource::core("pods"), &rows, owner, &selector, None).await?;
        Ok(mine.into_iter().map(|(_, p)| p).collect())
    }
    fn orphans(&self, meta: &Meta, selector: &LabelSelector) -> Vec<Arc<Row>> {
        let mut rows = self.pods.rows(&meta.namespace, selector);
        rows.retain(|r| r.controller().is_none() && !r.deleting && Pod::of(r).is_ok_and(|p| p.active()));
        rows
    }
    async fn act(&self, row: &Row, rs: &ReplicaSet, reference: &OwnerRef, pods: &[Pod]) -> Result<(), Failed> {
        let plan = plan(rs, pods, || self.related(row), self.deps.now());
        let (api_version, kind) = self.flavour.kind();
        let about = rs.metadata.regarding(api_version, kind);
        let control = PodControl { deps: &self.deps, expect: &self.expect, owner: &rs.metadata, reference, about: &about };
        control.delete_all(plan.delete.iter().map(|p| &p.metadata)).await?;
        let pod = control.pod(&rs.spec.template);
        let made = slow_start((0..plan.create).collect(), |_| control.create(&pod)).await;
        match made {
            Err(e) if namespace_ends(&e.source) => Ok(()),
            made => made,
        }
    }
    /// Pods of all ReplicaSets that have the same owner.
    fn related(&self, row: &Row) -> Vec<Pod> {
        let mut sets = row.controller().map(|owner| self.sets.owned_by(owner)).unwrap_or_default();
        if sets.is_empty() {
            sets = by_uid(&self.sets, &row.uid).into_iter().collect();
        }
        sets.iter().flat_map(|s| self.pods.owned_by(&s.uid)).filter_map(|r| Pod::of(&r).ok()).collect()
    }
}
