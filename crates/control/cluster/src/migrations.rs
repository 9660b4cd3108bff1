//! Storage version migration: objects are written again, so that they are stored as the present stored version has them
//! and under the present key.
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/storage-version-migration/>
//!
//! An object is rewritten by a patch that changes nothing but names its revision: who was faster has migrated it.

mod plan;

use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::storagemigration::v1::StorageVersionMigration as Migration;
use plan::{FAILED, Progress, RUNNING, SUCCEEDED, Step};
use serde::Deserialize;
use skiff_client::{ListParams, PatchBody, Target};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, LabelSelector, Reason, Revision, Status};
use std::{sync::Arc, time::Duration};

const RUNNER: &str = "migration-runner-controller";
const MIGRATOR: &str = "storage-version-migrator-controller";
/// A resource may be named before it is there.
const PATIENCE: i64 = 60;
const AGAIN: Duration = Duration::from_secs(2);
const PAGE: u64 = 500;
const TRIES: usize = 5;

struct Migrations {
    deps: Deps,
    all: Typed<Migration>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let all = deps.informers.of::<Migration>();
    all.index("all", |_| vec![String::new()]);
    let queue = Queue::new();
    let (q, rows) = (queue.clone(), all.clone());
    // The end of one is the turn of another.
    all.subscribe(move |_| rows.indexed("all", "").iter().for_each(|r| q.add(r.key.clone())));
    (queue, Arc::new(Migrations { deps, all }))
}

/// What of an object a rewriting patch names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    api_version: String,
    kind: String,
    metadata: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    #[serde(default)]
    namespace: String,
    resource_version: String,
}

/// How a migration came out.
enum Outcome {
    Done(Progress),
    /// It is tried again.
    Later(Progress, Status),
    Failed(String),
}

#[async_trait]
impl Reconcile for Migrations {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(m) = self.all.get("", name).filter(|m| m.metadata.deletion_timestamp.is_none()) else { return Ok(Action::Done) };
        let step = plan::step(&m, &self.all.list("", &LabelSelector::everything()));
        match step {
            Step::Nothing => Ok(Action::Done),
            Step::Begin => self.begin(m, name).await.at("begin migration", name),
            Step::Pin => self.pin(m).await.at("find the revision of migration", name),
            Step::Migrate => self.migrate(m).await.at("migrate", name),
            Step::End { success } => self.end(m, success).await.at("end migration", name),
        }
    }
}

impl Migrations {
    async fn begin(&self, mut m: Migration, name: &str) -> Result<Action, Status> {
        self.tell_definition(&m, |d, now| plan::begun(d, name, now)).await?;
        plan::set(&mut m, RUNNING, true, "MigrationRunning", &Progress::default().told(None), self.deps.clock.seconds());
        self.write(&m).await
    }

    async fn end(&self, mut m: Migration, success: bool) -> Result<Action, Status> {
        self.tell_definition(&m, |d, now| plan::done(d, success, now)).await?;
        plan::set(&mut m, RUNNING, false, "MigrationCompleted", "Migration completed", self.deps.clock.seconds());
        self.write(&m).await
    }

    async fn pin(&self, mut m: Migration) -> Result<Action, Status> {
        let Some(resource) = self.resource(&m) else { return self.missing(m, "resource does not exist in discovery").await };
        let one = ListParams { limit: 1, ..ListParams::default() };
        let page = self.deps.client.list_bytes(resource, "", &one).await?;
        m.status.get_or_insert_default().resource_version = Some(page.revision.to_string());
        self.write(&m).await
    }

    async fn migrate(&self, mut m: Migration) -> Result<Action, Status> {
        let Some(resource) = self.resource(&m) else {
            return self.missing(m, "migration encountered unhandled error: unable to obtain GVR from discovery").await;
        };
        let Ok(pinned) = plan::revision(&m).parse::<Revision>() else {
            return self.fail(m, "migration encountered unhandled error: the resource version is no number").await;
        };
        let now = self.deps.clock.seconds();
        match self.rewrite(&resource, pinned).await? {
            Outcome::Done(progress) => {
                plan::set(&mut m, RUNNING, true, "MigrationRunning", &progress.told(None), now);
                plan::set(&mut m, SUCCEEDED, true, "StorageVersionMigrationSucceeded", "Migration completed", now);
                self.write(&m).await
            }
            Outcome::Later(progress, why) => {
                plan::set(&mut m, RUNNING, true, "MigrationRunning", &progress.told(Some(&why.message)), now);
                self.write(&m).await?;
                Ok(Action::RequeueAfter(AGAIN))
            }
            Outcome::Failed(why) => self.fail(m, &why).await,
        }
    }

    /// Rewrites everything that is not younger than `pinned`.
    async fn rewrite(&self, resource: &GroupVersionResource, pinned: Revision) -> Result<Outcome, Status> {
        let (mut old, mut total, mut page) = (Vec::new(), 0, ListParams { limit: PAGE, ..ListParams::default() });
        loop {
            let found = self.deps.client.list_bytes(resource.clone(), "", &page).await?;
            total += found.items.len();
            for bytes in &found.items {
                let o: Object = skiff_json::from_slice(bytes).map_err(|e| Status::internal(format!("decode {resource}: {e}")))?;
                if o.metadata.resource_version.parse::<Revision>().is_ok_and(|r| r <= pinned) {
                    old.push(o);
                }
            }
            if found.continue_token.is_empty() {
                break;
            }
            page.continue_token = found.continue_token;
        }
        let mut progress = Progress { left: old.len(), total };
        for o in old {
            let patch = json!({"apiVersion": o.api_version, "kind": o.kind, "metadata": {"resourceVersion": o.metadata.resource_version}});
            let target = Target::new(resource.clone(), o.metadata.namespace, o.metadata.name);
            let body = PatchBody { manager: MIGRATOR.into(), ..PatchBody::merge(&patch) };
            match self.deps.client.patch_bytes(target, body).await {
                // Changed meanwhile, which migrated it, or gone.
                Ok(_) => {}
                Err(e) if e.is(Reason::Conflict) || e.is(Reason::NotFound) => {}
                Err(e) if passing(&e) => return Ok(Outcome::Later(progress, e)),
                Err(e) => {
                    return Ok(Outcome::Failed(format!(
                        "{}/{} not yet migrated. migration encountered unhandled error: {}",
                        progress.left, progress.total, e.message
                    )));
                }
            }
            progress.left -= 1;
        }
        Ok(Outcome::Done(progress))
    }

    fn resource(&self, m: &Migration) -> Option<GroupVersionResource> {
        let (group, name) = plan::resource(m);
        (self.deps.settings.resources)().into_iter().map(|(r, _)| r).find(|r| r.group == group && r.resource == name)
    }

    /// What is not there may come, for a while.
    async fn missing(&self, m: Migration, why: &str) -> Result<Action, Status> {
        let born = m.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
        if self.deps.clock.seconds().0 < born + PATIENCE {
            return Ok(Action::RequeueAfter(AGAIN));
        }
        self.fail(m, why).await
    }

    async fn fail(&self, mut m: Migration, why: &str) -> Result<Action, Status> {
        plan::set(&mut m, FAILED, true, "StorageVersionMigrationFailed", why, self.deps.clock.seconds());
        self.write(&m).await
    }

    async fn write(&self, m: &Migration) -> Result<Action, Status> {
        match self.deps.client.update_status(m).await {
            // Its change wakes us again.
            Err(e) if e.is(Reason::Conflict) || e.is(Reason::NotFound) => Ok(Action::Done),
            other => other.map(|_| Action::Done),
        }
    }

    /// Writes into the status of the resource's definition, if it has one.
    async fn tell_definition(&self, m: &Migration, tell: impl Fn(&Value, &str) -> Value) -> Result<(), Status> {
        let (group, resource) = plan::resource(m);
        let target = Target::new(GroupVersionResource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions"), "", format!("{resource}.{group}"));
        let mut last = Ok(());
        for _ in 0..TRIES {
            let bytes = match self.deps.client.get_bytes(target.clone()).await {
                Err(e) if e.is(Reason::NotFound) => return Ok(()),
                other => other?,
            };
            let definition: Value = skiff_json::from_slice(&bytes).map_err(Status::internal)?;
            let status = tell(&definition, &self.deps.clock.seconds().to_string());
            match self.deps.client.patch_bytes(target.clone().sub("status"), PatchBody::apply(&status, RUNNER)).await {
                Err(e) if e.is(Reason::Conflict) => last = Err(e),
                other => return other.map(drop),
            }
        }
        last
    }
}

/// Errors that pass by themselves.
fn passing(e: &Status) -> bool {
    matches!(e.reason, Reason::ServerTimeout | Reason::TooManyRequests | Reason::ServiceUnavailable | Reason::InternalError | Reason::Timeout)
}
