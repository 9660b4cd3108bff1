//! Reads, plans, acts.
use super::{
    Act, Plan, Snapshot, StatefulSet, Version,
    identity::{POD_INDEX, POD_NAME, REVISION, claims, identify, ordinal},
    plan,
    storage::Held,
    view::claim_names,
};
use crate::{
    pod::{Pod, PodSpec, PodStatus},
    revision::{Keeper, Revision, Revisions, surplus},
    shell::{Deps, PodControl, edit, owned, put_status, resource, wake_counter, wake_owner, wake_self},
    view::{Meta, OwnerRef, View},
};
use async_trait::async_trait;
use futures::future::join_all;
use skiff_client::{DeleteOptions, PatchBody, Target};
use skiff_controller::{Action, At, Expectations, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Informer, Row, split_key};
use skiff_json::{Value, json};
use skiff_meta::{Head, Reason, Status};
use std::{sync::Arc, time::Duration};

struct Controller {
    deps: Deps,
    sets: Arc<Informer>,
    pods: Arc<Informer>,
    claims: Arc<Informer>,
    revisions: Revisions,
    expect: Expectations,
    wrote: Expectations,
}

pub(crate) fn start(deps: Deps) -> (Queue, Arc<dyn Reconcile>) {
    let sets = deps.informer(&resource::apps("statefulsets"));
    let (pods, claims) = (deps.informer(&resource::core("pods")), deps.informer(&resource::core("persistentvolumeclaims")));
    let revisions = Revisions::new(&deps);
    let queue = Queue::new();
    wake_self(&sets, &queue);
    wake_counter(&pods, &sets, &queue);
    wake_owner(&revisions.rows, &sets, &queue);
    (queue, Arc::new(Controller { deps, sets, pods, claims, revisions, expect: Expectations::new(), wrote: Expectations::new() }))
}

/// One pass's findings.
struct Pass<'a> {
    row: &'a Row,
    set: &'a StatefulSet,
    reference: OwnerRef,
    about: Regarding,
    pods: Vec<(Arc<Row>, Pod)>,
    current: Version,
    update: Version,
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.sets.row(namespace, name) else {
            self.expect.forget(key);
            self.wrote.forget(key);
            self.revisions.forget(key);
            return Ok(Action::Done);
        };
        if !self.expect.met(key, &self.pods) || !self.wrote.met(key, &self.sets) || !self.revisions.settled(key) {
            return Ok(Action::Done);
        }
        let set = StatefulSet::of(&row).at("read", key)?;
        if set.spec.selector.is_empty() {
            return Ok(Action::Done);
        }
        let (revisions, collisions) = match set.metadata.deleting() {
            true => (vec![], set.status.collision_count.unwrap_or(0)),
            false => self.revisions.keep(&keeper(&set)).await?,
        };
        let pass = self.pass(&row, &set, &revisions).await?;
        let pods: Vec<Pod> = pass.pods.iter().map(|(_, p)| p.clone()).collect();
        let plan = plan(&Snapshot {
            set: &set,
            pods: &pods,
            current: &pass.current,
            update: &pass.update,
            collisions,
            claims_differ: &|p| self.held(&set, &p.metadata).iter().any(|(_, owners)| owners.is_some()),
            claims_stale: &|n| self.stale(&set, n),
            now: self.deps.now(),
        });
        let acted = self.act(&pass, &plan).await;
        if let Some(new) = put_status(&self.deps.client, &resource::apps("statefulsets"), &row, &plan.status).await? {
            self.wrote.wrote(key, &new.revision.to_string());
        }
        acted?;
        self.trim(&set, &revisions, &pass, &plan).await?;
        Ok(plan.again.map_or(Action::Done, |s| Action::RequeueAfter(Duration::from_secs(s.max(1) as u64))))
    }
}

fn keeper(set: &StatefulSet) -> Keeper<'_> {
    Keeper {
        meta: &set.metadata,
        selector: &set.spec.selector,
        template: &set.spec.template,
        api_version: "apps/v1",
        kind: "StatefulSet",
        hash_label: "controller.kubernetes.io/hash",
        collisions: set.status.collision_count,
    }
}

impl Controller {
    async fn pass<'a>(&self, row: &'a Row, set: &'a StatefulSet, revisions: &[Revision]) -> Result<Pass<'a>, Failed> {
        let version = |r: &Revision| Version { name: r.metadata.name.clone(), template: r.template() };
        let unknown = || Version { name: set.status.update_revision.clone(), template: set.spec.template.clone() };
        let update = revisions.last().map_or_else(unknown, version);
        let current = revisions.iter().find(|r| r.metadata.name == set.status.current_revision).map_or_else(|| update.clone(), version);
        let reference = set.metadata.controller_ref("apps/v1", "StatefulSet");
        let selector = set.spec.selector.parsed();
        let mut rows = self.pods.owned_by(&set.metadata.uid.as_str().into());
        let mut orphans = self.pods.rows(&set.metadata.namespace, &selector);
        orphans.retain(|r| r.controller().is_none() && ordinal(&set.metadata.name, r.name()).is_some());
        rows.extend(orphans);
        let owner = (&resource::apps("statefulsets"), &set.metadata, &reference);
        let pods = owned::<PodSpec, PodStatus>(&self.deps.client, &resource::core("pods"), &rows, owner, &selector, None).await?;
        Ok(Pass { row, set, about: set.metadata.regarding("apps/v1", "StatefulSet"), reference, pods, current, update })
    }
    /// The pod's claims that there are, and the owners that each should get.
    fn held(&self, set: &StatefulSet, pod: &Meta) -> Vec<(Arc<Row>, Option<Vec<OwnerRef>>)> {
        let Some(n) = ordinal(&set.metadata.name, &pod.name) else { return vec![] };
        let rows = claim_names(set, n).into_iter().filter_map(|(_, claim)| self.claims.row(&set.metadata.namespace, &claim));
        rows.filter_map(|row| {
            let claim = View::<Value, Value>::of(&row).ok()?;
            let held = Held { set, pod, in_range: set.spec.in_range(n), owners: &claim.metadata.owner_references };
            let owners = held.owners();
            Some((row, owners))
        })
        .collect()
    }
    /// Under WhenScaled=Delete: an earlier pod of the name still owns a claim.
    fn stale(&self, set: &StatefulSet, n: i64) -> bool {
        if set.spec.persistent_volume_claim_retention_policy.when_scaled != "Delete" {
            return false;
        }
        let pod = Meta { name: format!("{}-{n}", set.metadata.name), ..Default::default() };
        claim_names(set, n)
            .into_iter()
            .filter_map(|(_, claim)| self.claims.row(&set.metadata.namespace, &claim))
            .any(|row| View::<Value, Value>::of(&row).is_ok_and(|c| c.metadata.owner_references.iter().any(|r| super::view::refers(r, "v1", "Pod", &pod))))
    }
    async fn act(&self, pass: &Pass<'_>, plan: &Plan) -> Result<(), Failed> {
        if !pass.set.spec.parallel() {
            for act in &plan.acts {
                self.one(pass, act).await?;
            }
            return Ok(());
        }
        join_all(plan.acts.iter().map(|a| self.one(pass, a))).await.into_iter().collect()
    }
    async fn one(&self, pass: &Pass<'_>, act: &Act) -> Result<(), Failed> {
        let find = |name: &str| pass.pods.iter().find(|(_, p)| p.metadata.name == *name);
        match act {
            Act::Create { ordinal, update } => self.create(pass, *ordinal, if *update { &pass.update } else { &pass.current }).await,
            Act::Claims { pod } => match ordinal(&pass.set.metadata.name, pod) {
                Some(n) => self.make_claims(pass, n).await,
                None => Ok(()),
            },
            Act::Fix { pod } => match find(pod) {
                Some((row, p)) => self.fix(pass, row, p).await,
                None => Ok(()),
            },
            Act::Delete { pod } => match find(pod) {
                Some((_, p)) => self.delete(pass, &p.metadata).await,
                None => Ok(()),
            },
        }
    }
    fn tell(&self, pass: &Pass<'_>, verb: &str, what: &str, failed: Option<&Status>) {
        let (name, r) = (&pass.set.metadata.name, &self.deps.recorder);
        match failed {
            None => r.event(
                &pass.about,
                skiff_controller::EventType::Normal,
                &format!("Successful{verb}"),
                format!("{verb} {what} in StatefulSet {name} successful"),
            ),
            Some(e) => r.event(
                &pass.about,
                skiff_controller::EventType::Warning,
                &format!("Failed{verb}"),
                format!("{verb} {what} in StatefulSet {name} failed error: {e}"),
            ),
        }
    }
    async fn create(&self, pass: &Pass<'_>, n: i64, version: &Version) -> Result<(), Failed> {
        let name = format!("{}-{n}", pass.set.metadata.name);
        let what = format!("Pod {name}");
        if let Err(e) = self.make_claims(pass, n).await {
            self.tell(pass, "Create", &what, Some(&e.source));
            return Err(e);
        }
        let control = PodControl { deps: &self.deps, expect: &self.expect, owner: &pass.set.metadata, reference: &pass.reference, about: &pass.about };
        let mut pod = control.pod(&version.template);
        identify(pass.set, &mut pod, n, &version.name);
        match self.deps.client.create_bytes(Target::new(resource::core("pods"), pass.row.namespace(), ""), pod.to_string()).await {
            Ok(bytes) => {
                self.expect.wrote(&pass.row.key, &Head::of(&bytes).unwrap_or_default().resource_version);
                self.tell(pass, "Create", &what, None);
                let made = Pod::read(&bytes).at("read pod", &name)?;
                self.own_claims(pass, &made.metadata).await
            }
            // Another's pod has the name, or an earlier one is not gone yet: its end wakes us only if it was ours.
            Err(e) => {
                if !e.is(Reason::AlreadyExists) {
                    self.tell(pass, "Create", &what, Some(&e));
                }
                Err(e).at("create pod", name)
            }
        }
    }
    async fn make_claims(&self, pass: &Pass<'_>, n: i64) -> Result<(), Failed> {
        for claim in claims(pass.set, n) {
            let name = claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if let Some(row) = self.claims.row(pass.row.namespace(), &name) {
                if row.deleting {
                    return Err(Status::new(Reason::Conflict, format!("pvc {name} is being deleted"))).at("use claim", &row.key);
                }
                continue;
            }
            let text = |result: &str| format!("Create Claim {name} Pod {}-{n} in StatefulSet {} {result}", pass.set.metadata.name, pass.set.metadata.name);
            match self.deps.client.create_bytes(Target::new(resource::core("persistentvolumeclaims"), pass.row.namespace(), ""), claim.to_string()).await {
                Ok(_) => self.deps.recorder.normal(&pass.about, "SuccessfulCreate", text("success")),
                Err(e) if e.is(Reason::AlreadyExists) => {}
                Err(e) => {
                    self.deps.recorder.warning(&pass.about, "FailedCreate", text(&format!("failed error: {e}")));
                    return Err(e).at("create claim", name);
                }
            }
        }
        Ok(())
    }
    async fn own_claims(&self, pass: &Pass<'_>, pod: &Meta) -> Result<(), Failed> {
        for (row, owners) in self.held(pass.set, pod) {
            let Some(owners) = owners else { continue };
            edit(&self.deps.client, &resource::core("persistentvolumeclaims"), &row, |v| v["metadata"]["ownerReferences"] = json!(owners)).await?;
        }
        Ok(())
    }
    async fn fix(&self, pass: &Pass<'_>, row: &Row, pod: &Pod) -> Result<(), Failed> {
        self.own_claims(pass, &pod.metadata).await?;
        let Some(n) = ordinal(&pass.set.metadata.name, &pod.metadata.name) else { return Ok(()) };
        if pod.metadata.label(POD_NAME) == Some(&pod.metadata.name) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid, "labels": {POD_NAME: pod.metadata.name, POD_INDEX: n.to_string()}}});
        let done = self.deps.client.patch_bytes(Target::new(resource::core("pods"), row.namespace(), row.name()), PatchBody::merge(&patch)).await;
        self.tell(pass, "Update", &format!("Pod {}", pod.metadata.name), done.as_ref().err());
        done.map(drop).at("update pod", &row.key)
    }
    async fn delete(&self, pass: &Pass<'_>, pod: &Meta) -> Result<(), Failed> {
        let target = Target::new(resource::core("pods"), pod.namespace.as_str(), pod.name.as_str());
        let done = self.deps.client.delete_target(target, &DeleteOptions::default().uid(&pod.uid)).await;
        let failed = done.as_ref().err().filter(|e| !e.is(Reason::NotFound));
        self.tell(pass, "Delete", &format!("Pod {}", pod.name), failed);
        match done {
            Err(e) if !e.is(Reason::NotFound) => Err(e).at("delete pod", pod.key()),
            _ => {
                self.expect.deleted(&pass.row.key, &pod.key(), &pod.uid.as_str().into());
                Ok(())
            }
        }
    }
    /// Revisions beyond the limit that no pod has and that are neither current nor wanted.
    async fn trim(&self, set: &StatefulSet, revisions: &[Revision], pass: &Pass<'_>, plan: &Plan) -> Result<(), Failed> {
        let used = |name: &str| {
            name == pass.current.name || name == plan.status.update_revision || pass.pods.iter().any(|(_, p)| p.metadata.label(REVISION) == Some(name))
        };
        let gone = surplus(revisions, |r| used(&r.metadata.name), set.spec.revision_history_limit);
        self.revisions.delete(&gone).await
    }
}
