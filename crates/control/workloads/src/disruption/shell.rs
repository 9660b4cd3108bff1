//! Reads, plans, writes the status.
use super::{
    Budget, Snapshot,
    plan::{plan, unknown},
    stale,
};
use crate::{
    pod::Pod,
    shell::{Deps, by_uid, index_uids, put_status, resource, wake_self},
};
use async_trait::async_trait;
use skiff_client::Target;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Change, Informer, Row, split_key};
use skiff_json::Value;
use skiff_meta::{GroupVersion, GroupVersionResource, LabelSelector, Uid};
use std::{collections::HashMap, sync::Arc, time::Duration};

struct Controller {
    deps: Deps,
    budgets: Arc<Informer>,
    pods: Arc<Informer>,
    /// Kinds whose scale is known without asking, in the order of `SCALED`.
    owners: Vec<Arc<Informer>>,
}

const SCALED: [fn() -> GroupVersionResource; 4] =
    [|| resource::apps("replicasets"), || resource::apps("deployments"), || resource::apps("statefulsets"), || resource::core("replicationcontrollers")];

pub(crate) fn start(deps: Deps) -> (Queue, Arc<dyn Reconcile>) {
    let (budgets, pods) = (deps.informer(&resource::policy("poddisruptionbudgets")), deps.informer(&resource::core("pods")));
    let owners: Vec<Arc<Informer>> = SCALED.iter().map(|r| deps.informer(&r())).collect();
    owners.iter().for_each(|o| index_uids(o));
    let queue = Queue::new();
    wake_self(&budgets, &queue);
    wake_by_pod(&pods, &budgets, &queue);
    stale::wake(&pods, &queue);
    (queue, Arc::new(Controller { deps, budgets, pods, owners }))
}

/// Budgets that select a pod, before or after a change that counts.
fn wake_by_pod(pods: &Informer, budgets: &Arc<Informer>, queue: &Queue) {
    let (budgets, queue) = (budgets.clone(), queue.clone());
    pods.subscribe(move |c: &Change| {
        let all = budgets.rows(c.row().namespace(), &LabelSelector::everything());
        for b in all {
            let Ok(budget) = Budget::of(&b) else { continue };
            let selector = budget.spec.selector.parsed();
            let hit = |r: &Option<Arc<Row>>| r.as_ref().is_some_and(|r| r.selected_by(&selector));
            if hit(&c.old) || hit(&c.new) {
                queue.add(b.key.clone());
            }
        }
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        if let Some(pod) = key.strip_prefix(stale::KEY) {
            return stale::reconcile(&self.deps, &self.pods, pod).await;
        }
        let (namespace, name) = split_key(key);
        let Some(row) = self.budgets.row(namespace, name) else { return Ok(Action::Done) };
        let budget = Budget::of(&row).at("read", key)?;
        let about = budget.metadata.regarding("policy/v1", "PodDisruptionBudget");
        let rows = self.pods.rows(namespace, &budget.spec.selector.parsed());
        let pods: Vec<Pod> = rows.iter().filter_map(|r| Pod::of(r).ok()).collect();
        if pods.is_empty() {
            self.deps.recorder.normal(&about, "NoPods", "No matching pods found");
        }
        let scales = self.scales(&pods).await;
        let now = self.deps.now();
        let (status, again) = match plan(&Snapshot { budget: &budget, pods: &pods, scales: &scales, now }) {
            Ok(p) => {
                for pod in pods.iter().filter(|x| p.not_deleted.contains(&x.metadata.name)) {
                    let text = format!("Pod was expected by PDB {namespace}/{name} to be deleted but it wasn't");
                    self.deps.recorder.warning(&pod.metadata.regarding("v1", "Pod"), "NotDeleted", text);
                }
                (p.status, p.again)
            }
            Err(why) => {
                let text = format!("Failed to calculate the number of expected pods: {why}");
                self.deps.recorder.warning(&about, "CalculateExpectedPodCountFailed", text);
                (unknown(&budget, &why, now), None)
            }
        };
        put_status(&self.deps.client, &resource::policy("poddisruptionbudgets"), &row, &status).await?;
        Ok(again.map_or(Action::Done, |s| Action::RequeueAfter(Duration::from_secs(s.max(1) as u64))))
    }
}

impl Controller {
    /// Of each controller behind the pods: its own replicas, those of a Deployment behind it, or what its scale says.
    async fn scales(&self, pods: &[Pod]) -> HashMap<String, i64> {
        let mut out = HashMap::new();
        for owner in pods.iter().filter_map(|p| p.metadata.controller().map(|c| (c, &p.metadata.namespace))) {
            let (reference, namespace) = owner;
            if out.contains_key(&reference.uid) {
                continue;
            }
            let known = self.known(&reference.uid.as_str().into());
            let scale = match known {
                Some(n) => Some(n),
                None => self.asked(&reference.api_version, &reference.kind, namespace, &reference.name).await,
            };
            out.extend(scale.map(|n| (reference.uid.clone(), n)));
        }
        out
    }
    fn known(&self, uid: &Uid) -> Option<i64> {
        let row = self.owners.iter().find_map(|o| by_uid(o, uid))?;
        let above = row.controller().and_then(|uid| self.owners.iter().find_map(|o| by_uid(o, uid)));
        replicas(&above.unwrap_or(row).bytes)
    }
    /// The scale subresource of any other kind, custom ones too; the plural is guessed as upstream's mapper would find it
    /// for regular nouns.
    async fn asked(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<i64> {
        let resource = GroupVersion::parse(api_version)?.resource(format!("{}s", kind.to_lowercase()));
        let bytes = self.deps.client.get_bytes(Target::new(resource, namespace, name).sub("scale")).await.ok()?;
        replicas(&bytes).or(Some(0))
    }
}

fn replicas(bytes: &[u8]) -> Option<i64> {
    skiff_json::from_slice::<Value>(bytes).ok()?["spec"]["replicas"].as_i64()
}
