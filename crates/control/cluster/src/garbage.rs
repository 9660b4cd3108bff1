//! Garbage collection by owner references.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>
//!
//! One informer a resource keeps rows with owner uids; nothing is decoded. A key is `resource|namespace/name`. What
//! wakes it is its own change or the change of an owner. Whether an owner is really gone is asked of the API server
//! before anything is deleted, since informers lag behind each other.

mod plan;
mod watches;

use crate::run::{Deps, Started};
use async_trait::async_trait;
use plan::{Step, step};
use skiff_client::{DeleteOptions, PatchBody, Preconditions, Target};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_json::json;
use skiff_meta::{GroupVersionResource, Head, OwnerRef, Reason, Status};
use std::{sync::Arc, time::Duration};
use watches::Watches;

/// How soon a new kind of resource is seen.
const DISCOVER: Duration = Duration::from_secs(5);
const DISCOVERY_KEY: &str = "discover";

struct Garbage {
    deps: Deps,
    watches: Arc<Watches>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let queue = Queue::new();
    let watches = Arc::new(Watches::new(deps.informers.clone(), queue.clone()));
    watches.follow(&(deps.settings.resources)());
    queue.add(DISCOVERY_KEY);
    (queue, Arc::new(Garbage { deps, watches }))
}

#[async_trait]
impl Reconcile for Garbage {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        if key == DISCOVERY_KEY {
            self.watches.follow(&(self.deps.settings.resources)());
            return Ok(Action::RequeueAfter(DISCOVER));
        }
        let Some((resource, namespace, name)) = self.watches.parse(key) else { return Ok(Action::Done) };
        let target = Target::new(resource, namespace, name);
        let bytes = match self.deps.client.get_bytes(target.clone()).await {
            Err(e) if e.is(Reason::NotFound) || e.is(Reason::MethodNotAllowed) => return Ok(Action::Done),
            other => other.at("read", key)?,
        };
        let head = Head::of(&bytes).map_err(Status::internal).at("decode", key)?;
        self.act(&target, &head).await.at("collect", key)
    }
}

impl Garbage {
    async fn act(&self, target: &Target, head: &Head) -> Result<Action, Status> {
        let mut owners = Vec::new();
        for o in &head.owner_references {
            owners.push((o.clone(), self.owner_state(o, &head.namespace).await?));
        }
        let waited = owners.iter().any(|(_, o)| matches!(o, plan::Owner::Present { foreground: true }));
        let dependents: Vec<_> = if head.deletion_timestamp.is_some() || waited { self.watches.dependents(&head.uid) } else { Vec::new() };
        let (blocking, going) = (dependents.iter().filter(|d| d.blocks).count(), dependents.iter().filter(|d| d.deleting).count());
        match step(head, &owners, going, blocking) {
            Step::Nothing => Ok(Action::Done),
            Step::Delete { policy } => {
                let options = DeleteOptions { propagation_policy: Some(policy), preconditions: Some(preconditions(head)), ..Default::default() };
                let done = self.deps.client.delete_target(target.clone(), &options).await;
                settled(done.map(drop))
            }
            Step::DropOwners(gone) => {
                let kept: Vec<_> = head.owner_references.iter().filter(|o| !gone.contains(&o.uid)).map(reference).collect();
                self.patch(target, head, json!({"metadata": {"ownerReferences": kept}})).await
            }
            Step::Unblock => {
                let kept: Vec<_> =
                    head.owner_references.iter().map(|o| OwnerRef { block_owner_deletion: Some(false), ..o.clone() }).map(|o| reference(&o)).collect();
                self.patch(target, head, json!({"metadata": {"ownerReferences": kept}})).await?;
                let options = DeleteOptions {
                    propagation_policy: Some("Foreground"),
                    preconditions: Some(Preconditions { uid: Some(head.uid.clone()), resource_version: None }),
                    ..Default::default()
                };
                settled(self.deps.client.delete_target(target.clone(), &options).await.map(drop))
            }
            Step::Orphan => {
                for d in &dependents {
                    self.orphan(&d.target, &head.uid).await?;
                }
                self.finish(target, head, "orphan").await
            }
            Step::DeleteDependents => {
                // Those that are going already wake this one when they are gone.
                for d in dependents.iter().filter(|d| !d.deleting) {
                    self.watches.wake(&d.target);
                }
                Ok(Action::RequeueAfter(Duration::from_secs(1)))
            }
            Step::Finish(finalizer) => self.finish(target, head, finalizer).await,
        }
    }
    /// Removes one of our finalizers.
    async fn finish(&self, target: &Target, head: &Head, finalizer: &str) -> Result<Action, Status> {
        let kept: Vec<&String> = head.finalizers.iter().filter(|f| *f != finalizer).collect();
        self.patch(target, head, json!({"metadata": {"finalizers": kept}})).await
    }
    async fn patch(&self, target: &Target, head: &Head, mut patch: skiff_json::Value) -> Result<Action, Status> {
        patch["metadata"]["uid"] = head.uid.clone().into();
        patch["metadata"]["resourceVersion"] = head.resource_version.clone().into();
        settled(self.deps.client.patch_bytes(target.clone(), PatchBody::merge(&patch)).await.map(drop))
    }
    /// Takes the owner out of a dependent's references.
    async fn orphan(&self, target: &Target, owner: &str) -> Result<(), Status> {
        let bytes = match self.deps.client.get_bytes(target.clone()).await {
            Err(e) if e.is(Reason::NotFound) => return Ok(()),
            other => other?,
        };
        let head = Head::of(&bytes).map_err(Status::internal)?;
        let kept: Vec<_> = head.owner_references.iter().filter(|o| o.uid != owner).map(reference).collect();
        self.patch(target, &head, json!({"metadata": {"ownerReferences": kept}})).await.map(drop)
    }
    /// Asks the API server: informers lag.
    async fn owner_state(&self, o: &OwnerRef, namespace: &str) -> Result<plan::Owner, Status> {
        let Some((resource, namespaced)) = self.watches.resource_of(&o.api_version, &o.kind) else {
            // An unknown kind: nothing can be said, so it counts as there.
            return Ok(plan::Owner::Present { foreground: false });
        };
        if namespaced && namespace.is_empty() {
            return Ok(plan::Owner::Present { foreground: false });
        }
        let target = Target::new(resource, if namespaced { namespace } else { "" }, &*o.name);
        match self.deps.client.get_bytes(target).await {
            Err(e) if e.is(Reason::NotFound) => Ok(plan::Owner::Absent),
            Err(e) => Err(e),
            Ok(bytes) => {
                let head = Head::of(&bytes).map_err(Status::internal)?;
                if head.uid != o.uid {
                    return Ok(plan::Owner::Absent);
                }
                let foreground = head.deletion_timestamp.is_some() && head.finalizers.iter().any(|f| f == plan::FOREGROUND);
                Ok(plan::Owner::Present { foreground })
            }
        }
    }
}

fn preconditions(head: &Head) -> Preconditions {
    Preconditions { uid: Some(head.uid.clone()), resource_version: Some(head.resource_version.clone()) }
}

/// What is gone is done; what changed meanwhile comes again.
fn settled(done: Result<(), Status>) -> Result<Action, Status> {
    match done {
        Err(e) if e.is(Reason::NotFound) => Ok(Action::Done),
        Err(e) if e.is(Reason::Conflict) => Ok(Action::RequeueAfter(Duration::from_millis(20))),
        other => other.map(|()| Action::Done),
    }
}

fn reference(o: &OwnerRef) -> skiff_json::Value {
    let mut v = json!({"apiVersion": o.api_version, "kind": o.kind, "name": o.name, "uid": o.uid});
    if let Some(c) = o.controller {
        v["controller"] = c.into();
    }
    if let Some(b) = o.block_owner_deletion {
        v["blockOwnerDeletion"] = b.into();
    }
    v
}

impl From<&GroupVersionResource> for watches::Id {
    fn from(r: &GroupVersionResource) -> Self {
        watches::Id(format!("{}/{}/{}", r.group, r.version, r.resource))
    }
}
