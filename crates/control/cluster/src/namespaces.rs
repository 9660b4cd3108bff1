//! Deletion of namespaces: everything in it goes, pods last of all to answer, then the finalizer.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>
use crate::edit::edit;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use skiff_client::{Call, Client, ListParams, Target, Verb, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_meta::{GroupVersionResource, Head, Reason, Status};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How often a namespace is looked at while something in it takes its time.
const AGAIN: Duration = Duration::from_millis(500);
const FINALIZER: &str = "kubernetes";

struct Namespaces {
    deps: Deps,
    namespaces: Typed<Namespace>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let namespaces = deps.informers.of::<Namespace>();
    let queue = Queue::new();
    let q = queue.clone();
    namespaces.subscribe(move |c| {
        if c.new.as_ref().is_some_and(|r| r.deleting) {
            q.add(c.key());
        }
    });
    (queue, Arc::new(Namespaces { deps, namespaces }))
}

/// What is left in the namespace.
#[derive(Default)]
struct Left {
    /// Resource → objects.
    objects: BTreeMap<String, usize>,
    /// Finalizer → objects.
    finalizers: BTreeMap<String, usize>,
    failures: Vec<String>,
}

#[async_trait]
impl Reconcile for Namespaces {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(ns) = self.namespaces.get("", name).filter(|n| n.metadata.deletion_timestamp.is_some()) else { return Ok(Action::Done) };
        let ours = ns.spec.as_ref().and_then(|s| s.finalizers.as_ref()).is_some_and(|f| f.iter().any(|f| f == FINALIZER));
        if !ours {
            return Ok(Action::Done);
        }
        let left = empty(&self.deps, name).await;
        let conditions = conditions(&left, &self.deps.clock.seconds().to_string());
        if changes(&ns, &conditions) {
            let target = Target::new(resource_of::<Namespace>(), "", name).sub("status");
            edit(&self.deps.client, target, &json!({"status": {"conditions": conditions}})).await.or_else(gone_is_fine).at("write conditions of namespace", name)?;
        }
        if !left.objects.is_empty() || !left.failures.is_empty() {
            return Ok(Action::RequeueAfter(AGAIN));
        }
        finalize(&self.deps.client, name).await.at("finalize namespace", name)?;
        Ok(Action::Done)
    }
}

fn gone_is_fine(e: Status) -> Result<(), Status> {
    if e.is(Reason::NotFound) { Ok(()) } else { Err(e) }
}

/// Takes our finalizer out of the spec; the server then removes the namespace.
async fn finalize(client: &Client, name: &str) -> Result<(), Status> {
    let target = Target::new(resource_of::<Namespace>(), "", name);
    let bytes = match client.get_bytes(target.clone()).await {
        Err(e) => return gone_is_fine(e),
        Ok(b) => b,
    };
    let mut v: Value = serde_json::from_slice(&bytes).map_err(Status::internal)?;
    if let Some(list) = v.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut) {
        list.retain(|f| f != FINALIZER);
    }
    client.update_bytes(target.sub("finalize"), v.to_string()).await.map(drop).or_else(gone_is_fine)
}

/// Asks for the deletion of all that is there, and counts what is left. Pods go before what they may need to end well,
/// and events last of all.
async fn empty(deps: &Deps, namespace: &str) -> Left {
    let mut left = Left::default();
    let resources = (deps.settings.resources)();
    let turn = |r: &GroupVersionResource| match (&*r.group, &*r.resource) {
        ("", "pods") => 0,
        (_, "events") => 2,
        _ => 1,
    };
    for now in 0..3 {
        for (resource, _) in resources.iter().filter(|(r, namespaced)| *namespaced && turn(r) == now) {
            if let Err(e) = empty_one(&deps.client, resource, namespace, &mut left).await {
                left.failures.push(format!("{}: {e}", resource.group_resource()));
            }
        }
        if !left.objects.is_empty() || !left.failures.is_empty() {
            break;
        }
    }
    left
}

async fn empty_one(client: &Client, resource: &GroupVersionResource, namespace: &str, left: &mut Left) -> Result<(), Status> {
    let all = ListParams::default();
    let list = || client.list_bytes(resource.clone(), namespace, &all);
    let skip = |e: Status| if e.is(Reason::NotFound) || e.is(Reason::MethodNotAllowed) { Ok(None) } else { Err(e) };
    let Some(page) = list().await.map(Some).or_else(skip)? else { return Ok(()) };
    if page.items.is_empty() {
        return Ok(());
    }
    let body = json!({"propagationPolicy": "Background"}).to_string();
    client.call(Call::new(Verb::DeleteCollection, Target::new(resource.clone(), namespace, "")).body(body)).await?;
    for item in &list().await?.items {
        let head = Head::of(item).map_err(Status::internal)?;
        *left.objects.entry(resource.group_resource().to_string()).or_default() += 1;
        for f in head.finalizers {
            *left.finalizers.entry(f).or_default() += 1;
        }
    }
    Ok(())
}

/// Upstream's five conditions of a namespace that is being deleted.
fn conditions(left: &Left, now: &str) -> Vec<Value> {
    let one = |kind: &str, bad: Option<String>, reason: &str, good: &str| {
        let (status, reason, message) = match &bad {
            Some(m) => ("True", reason, m.as_str()),
            None => ("False", if kind.ends_with("Remaining") { "ContentRemoved" } else if kind.contains("Discovery") { "ResourcesDiscovered" } else if kind.contains("Parsing") { "ParsedGroupVersions" } else { "ContentDeleted" }, good),
        };
        json!({"type": kind, "status": status, "reason": if kind == "NamespaceFinalizersRemaining" && bad.is_none() { "ContentHasNoFinalizers" } else { reason }, "message": message, "lastTransitionTime": now})
    };
    let some = |v: &BTreeMap<String, usize>, head: &str, word: &str| {
        let parts: Vec<String> = v.iter().map(|(k, n)| format!("{k} {word} {n} resource instances")).collect();
        (!parts.is_empty()).then(|| format!("{head}: {}", parts.join(", ")))
    };
    let failed = (!left.failures.is_empty()).then(|| format!("Failed to delete all resource types, {} remaining: {}", left.failures.len(), left.failures.join(", ")));
    vec![
        one("NamespaceDeletionDiscoveryFailure", None, "DiscoveryFailed", "All resources successfully discovered"),
        one("NamespaceDeletionGroupVersionParsingFailure", None, "GroupVersionParsingFailed", "All legacy kube types successfully parsed"),
        one("NamespaceDeletionContentFailure", failed, "ContentDeletionFailed", "All content successfully deleted, may be waiting on finalization"),
        one("NamespaceContentRemaining", some(&left.objects, "Some resources are remaining", "has"), "SomeResourcesRemain", "All content successfully removed"),
        one("NamespaceFinalizersRemaining", some(&left.finalizers, "Some content in the namespace has finalizers remaining", "in"), "SomeFinalizersRemain", "All content-preserving finalizers finished"),
    ]
}

fn changes(ns: &Namespace, wanted: &[Value]) -> bool {
    let have: Vec<_> = ns.status.iter().flat_map(|s| s.conditions.iter().flatten()).collect();
    wanted.iter().any(|w| !have.iter().any(|h| w["type"] == h.type_ && w["status"] == h.status && w["message"] == h.message.as_deref().unwrap_or_default()))
}
