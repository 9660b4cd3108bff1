//! Reads, plans, acts.
use super::{
    DaemonSet, Node, Plan, Snapshot, plan,
    template::{HASH, marked, pinned, tolerant},
};
use crate::{
    pod::{Pod, PodSpec, PodStatus},
    revision::{Keeper, Revision, Revisions, surplus},
    shell::{Deps, PodControl, namespace_ends, owned, put_status, resource, slow_start, wake_counter, wake_owner, wake_self},
    view::{OwnerRef, Time},
};
use async_trait::async_trait;
use parking_lot::Mutex;
use skiff_controller::{Action, At, Expectations, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Informer, Row, split_key};
use skiff_json::Value;
use skiff_meta::LabelSelector;
use std::{collections::HashMap, sync::Arc, time::Duration};

struct Controller {
    deps: Deps,
    sets: Arc<Informer>,
    pods: Arc<Informer>,
    nodes: Arc<Informer>,
    revisions: Revisions,
    expect: Expectations,
    wrote: Expectations,
    failures: Mutex<Failures>,
}

pub(crate) fn start(deps: Deps) -> (Queue, Arc<dyn Reconcile>) {
    let sets = deps.informer(&resource::apps("daemonsets"));
    let (pods, nodes) = (deps.informer(&resource::core("pods")), deps.informer(&resource::core("nodes")));
    let revisions = Revisions::new(&deps);
    let queue = Queue::new();
    wake_self(&sets, &queue);
    wake_counter(&pods, &sets, &queue);
    wake_owner(&revisions.rows, &sets, &queue);
    wake_by_node(&nodes, &sets, &queue);
    (queue, Arc::new(Controller { deps, sets, pods, nodes, revisions, expect: Expectations::new(), wrote: Expectations::new(), failures: Mutex::default() }))
}

/// A node that comes, goes, or changes what decides where pods run: not each of its heartbeats.
fn wake_by_node(nodes: &Informer, sets: &Arc<Informer>, queue: &Queue) {
    let (sets, queue) = (sets.clone(), queue.clone());
    let facts = |row: &Row| Node::of(row).map(|n| (n.metadata.labels, n.spec)).ok();
    nodes.subscribe(move |c| {
        let same = matches!((&c.old, &c.new), (Some(a), Some(b)) if facts(a) == facts(b));
        if !same {
            sets.rows("", &LabelSelector::everything()).iter().for_each(|s| queue.add(s.key.clone()));
        }
    });
}

/// How long failed pods of a node wait to be replaced: 1 s, doubled with each failure, at most 15 min; forgotten after
/// twice that without one.
#[derive(Default)]
struct Failures(HashMap<String, (i64, Time)>);

impl Failures {
    const MOST: i64 = 900;

    fn wait(&self, key: &str, now: Time) -> Option<i64> {
        let (delay, last) = self.0.get(key)?;
        let left = last.0 + delay - now.0;
        (left > 0).then_some(left)
    }
    fn add(&mut self, key: String, now: Time) {
        self.0.retain(|_, (_, last)| now.0 - last.0 < 2 * Self::MOST);
        let slot = self.0.entry(key).or_insert((0, now));
        *slot = ((slot.0 * 2).clamp(1, Self::MOST), now);
    }
}

struct Pass<'a> {
    row: &'a Row,
    ds: &'a DaemonSet,
    hash: String,
    reference: OwnerRef,
    about: Regarding,
    pods: Vec<Pod>,
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.sets.row(namespace, name) else {
            [&self.expect, &self.wrote].iter().for_each(|e| e.forget(key));
            self.revisions.forget(key);
            return Ok(Action::Done);
        };
        if !self.expect.met(key, &self.pods) || !self.wrote.met(key, &self.sets) || !self.revisions.settled(key) {
            return Ok(Action::Done);
        }
        let ds = DaemonSet::of(&row).at("read", key)?;
        let about = ds.metadata.regarding("apps/v1", "DaemonSet");
        if ds.spec.selector.is_empty() {
            self.deps.recorder.warning(&about, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.");
            return Ok(Action::Done);
        }
        if ds.metadata.deleting() {
            return Ok(Action::Done);
        }
        let (revisions, collisions) = self.revisions.keep(&keeper(&ds)).await?;
        let hash = revisions.last().and_then(|r| r.metadata.label(HASH)).unwrap_or_default().to_owned();
        let pass = self.pass(&row, &ds, hash, about).await?;
        self.finish(&pass, &revisions, collisions).await
    }
}

fn keeper(ds: &DaemonSet) -> Keeper<'_> {
    Keeper {
        meta: &ds.metadata,
        selector: &ds.spec.selector,
        template: &ds.spec.template,
        api_version: "apps/v1",
        kind: "DaemonSet",
        hash_label: HASH,
        collisions: ds.status.collision_count,
    }
}

impl Controller {
    async fn pass<'a>(&self, row: &'a Row, ds: &'a DaemonSet, hash: String, about: Regarding) -> Result<Pass<'a>, Failed> {
        let selector = ds.spec.selector.parsed();
        let mut rows = self.pods.owned_by(&ds.metadata.uid.as_str().into());
        let mut orphans = self.pods.rows(&ds.metadata.namespace, &selector);
        orphans.retain(|r| r.controller().is_none());
        rows.extend(orphans);
        let reference = ds.metadata.controller_ref("apps/v1", "DaemonSet");
        let owner = (&resource::apps("daemonsets"), &ds.metadata, &reference);
        let mine = owned::<PodSpec, PodStatus>(&self.deps.client, &resource::core("pods"), &rows, owner, &selector, None).await?;
        let pods = mine.into_iter().map(|(_, p)| p).filter(|p| !(p.terminal() && p.metadata.deleting())).collect();
        Ok(Pass { row, ds, hash, reference, about, pods })
    }
    async fn finish(&self, pass: &Pass<'_>, revisions: &[Revision], collisions: i64) -> Result<Action, Failed> {
        let nodes: Vec<Node> = self.nodes.rows("", &LabelSelector::everything()).iter().filter_map(|r| Node::of(r).ok()).collect();
        let now = self.deps.now();
        let backoff_key = |node: &str| format!("{}/{}/{node}", pass.ds.metadata.uid, pass.ds.status.observed_generation);
        let mut plan = plan(&Snapshot {
            ds: pass.ds,
            nodes: &nodes,
            pods: &pass.pods,
            hash: &pass.hash,
            backoff: &|node| self.failures.lock().wait(&backoff_key(node), now),
            now,
        });
        if collisions > 0 {
            plan.status.collision_count = Some(collisions);
        }
        for (pod, node, failed) in &plan.over {
            let what = format!("{}/{pod} on node {node}", pass.ds.metadata.namespace);
            if *failed {
                self.failures.lock().add(backoff_key(node), now);
                self.deps.recorder.warning(&pass.about, "FailedDaemonPod", format!("Found failed daemon pod {what}, will try to kill it"));
            } else {
                self.deps.recorder.normal(&pass.about, "SucceededDaemonPod", format!("Found succeeded daemon pod {what}, will try to delete it"));
            }
        }
        let acted = self.act(pass, &plan).await;
        if let Some(new) = put_status(&self.deps.client, &resource::apps("daemonsets"), pass.row, &plan.status).await? {
            self.wrote.wrote(&pass.row.key, &new.revision.to_string());
        }
        acted?;
        let newest = revisions.last().map(|r| r.metadata.name.as_str());
        let live = |r: &Revision| Some(r.metadata.name.as_str()) == newest || pass.pods.iter().any(|p| p.metadata.label(HASH) == r.metadata.label(HASH));
        self.revisions.delete(&surplus(revisions, live, pass.ds.spec.revision_history_limit)).await?;
        Ok(plan.again.map_or(Action::Done, |s| Action::RequeueAfter(Duration::from_secs(s.max(1) as u64))))
    }
    async fn act(&self, pass: &Pass<'_>, plan: &Plan) -> Result<(), Failed> {
        let control = PodControl { deps: &self.deps, expect: &self.expect, owner: &pass.ds.metadata, reference: &pass.reference, about: &pass.about };
        let template = self.template(pass);
        let made = slow_start(plan.create.iter().collect(), |node| {
            let pod = control.pod(&pinned(&template, node));
            let control = &control;
            async move { control.create(&pod).await }
        })
        .await;
        let doomed = pass.pods.iter().filter(|p| plan.delete.contains(&p.metadata.name)).map(|p| &p.metadata);
        let deleted = control.delete_all(doomed).await;
        match made {
            Err(e) if namespace_ends(&e.source) => deleted,
            made => made.and(deleted),
        }
    }
    fn template(&self, pass: &Pass<'_>) -> Value {
        let generation = pass.ds.metadata.annotation("deprecated.daemonset.template.generation");
        marked(tolerant(&pass.ds.spec.template), &pass.hash, generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn failures_wait_longer_each_time() {
        let mut f = Failures::default();
        for (at, wait) in [(0, 1), (10, 2), (20, 4)] {
            f.add("n".into(), Time(at));
            assert_eq!(f.wait("n", Time(at)), Some(wait));
        }
        assert_eq!(f.wait("n", Time(24)), None);
        (0..20).for_each(|i| f.add("n".into(), Time(30 + i)));
        assert_eq!(f.wait("n", Time(49)), Some(900));
    }
}
