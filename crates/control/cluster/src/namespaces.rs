//! Deletion of namespaces: everything in it goes, pods last of all to answer, then the finalizer.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>
use crate::edit::edit;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use parking_lot::Mutex;
use skiff_client::{Call, Client, ListParams, Target, Verb, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{ChangeKind, Typed};
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, Head, Reason, Status};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// When a namespace is looked at again while something in it takes its time; twice as long each time that nothing went. Pods,
/// which mostly are what takes time, wake it when they go.
const SOON: Duration = Duration::from_millis(250);
const LATEST: Duration = Duration::from_secs(8);
const FINALIZER: &str = "kubernetes";

struct Namespaces {
    deps: Deps,
    namespaces: Typed<Namespace>,
    waiting: Waiting,
}

/// Namespaces that are not empty yet: how many objects there were, and how often in a row none went.
type Waiting = Arc<Mutex<BTreeMap<String, (usize, u32)>>>;

pub(crate) fn start(deps: Deps) -> Started {
    let namespaces = deps.informers.of::<Namespace>();
    let queue = Queue::new();
    let q = queue.clone();
    namespaces.subscribe(move |c| {
        if c.new.as_ref().is_some_and(|r| r.deleting) {
            q.add(c.key());
        }
    });
    let waiting = Waiting::default();
    let (q, w) = (queue.clone(), waiting.clone());
    deps.informers.of::<Pod>().subscribe(move |c| {
        let namespace = c.row().namespace();
        if c.kind == ChangeKind::Deleted && w.lock().contains_key(namespace) {
            q.add(namespace);
        }
    });
    (queue, Arc::new(Namespaces { deps, namespaces, waiting }))
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
        let ours = |n: &Namespace| n.spec.as_ref().and_then(|s| s.finalizers.as_ref()).is_some_and(|f| f.iter().any(|f| f == FINALIZER));
        let found = self.namespaces.get("", name).filter(|n| n.metadata.deletion_timestamp.is_some() && ours(n));
        let Some(ns) = found else {
            self.waiting.lock().remove(name);
            return Ok(Action::Done);
        };
        // Before the look: a pod that goes meanwhile wakes us.
        self.waiting.lock().entry(name.to_owned()).or_insert((usize::MAX, 0));
        let left = empty(&self.deps, name).await;
        let have = ns.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let conditions = conditions(&left, have, &self.deps.clock.seconds().to_string());
        if changes(&ns, &conditions) {
            let target = Target::new(resource_of::<Namespace>(), "", name).sub("status");
            edit(&self.deps.client, target, &json!({"status": {"conditions": conditions}}))
                .await
                .or_else(gone_is_fine)
                .at("write conditions of namespace", name)?;
        }
        if !left.objects.is_empty() || !left.failures.is_empty() {
            let mut waiting = self.waiting.lock();
            let seen = waiting.entry(name.to_owned()).or_insert((usize::MAX, 0));
            *seen = look_again(*seen, left.objects.values().sum());
            return Ok(Action::RequeueAfter(pause(seen.1)));
        }
        self.waiting.lock().remove(name);
        finalize(&self.deps.client, name).await.at("finalize namespace", name)?;
        Ok(Action::Done)
    }
}

/// What is remembered of a look that found so many objects.
fn look_again((before, tries): (usize, u32), now: usize) -> (usize, u32) {
    (now, if now < before { 0 } else { tries.saturating_add(1) })
}

fn pause(tries: u32) -> Duration {
    SOON.saturating_mul(1 << tries.min(10)).min(LATEST)
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
    let mut v: Value = skiff_json::from_slice(&bytes).map_err(Status::internal)?;
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

/// Upstream's five conditions of a namespace that is being deleted. One whose status stays keeps its time.
fn conditions(left: &Left, have: &[NamespaceCondition], now: &str) -> Vec<Value> {
    let one = |kind: &str, bad: Option<String>, reason: &str, good: &str| {
        let (status, reason, message) = match &bad {
            Some(m) => ("True", reason, m.as_str()),
            None => (
                "False",
                if kind.ends_with("Remaining") {
                    "ContentRemoved"
                } else if kind.contains("Discovery") {
                    "ResourcesDiscovered"
                } else if kind.contains("Parsing") {
                    "ParsedGroupVersions"
                } else {
                    "ContentDeleted"
                },
                good,
            ),
        };
        let since = have.iter().find(|c| c.type_ == kind && c.status == status).and_then(|c| c.last_transition_time.as_ref());
        let since = since.map_or_else(|| json!(now), |t| json!(t));
        json!({"type": kind, "status": status, "reason": if kind == "NamespaceFinalizersRemaining" && bad.is_none() { "ContentHasNoFinalizers" } else { reason }, "message": message, "lastTransitionTime": since})
    };
    let some = |v: &BTreeMap<String, usize>, head: &str, word: &str| {
        let parts: Vec<String> = v.iter().map(|(k, n)| format!("{k} {word} {n} resource instances")).collect();
        (!parts.is_empty()).then(|| format!("{head}: {}", parts.join(", ")))
    };
    let failed =
        (!left.failures.is_empty()).then(|| format!("Failed to delete all resource types, {} remaining: {}", left.failures.len(), left.failures.join(", ")));
    vec![
        one("NamespaceDeletionDiscoveryFailure", None, "DiscoveryFailed", "All resources successfully discovered"),
        one("NamespaceDeletionGroupVersionParsingFailure", None, "GroupVersionParsingFailed", "All legacy kube types successfully parsed"),
        one("NamespaceDeletionContentFailure", failed, "ContentDeletionFailed", "All content successfully deleted, may be waiting on finalization"),
        one("NamespaceContentRemaining", some(&left.objects, "Some resources are remaining", "has"), "SomeResourcesRemain", "All content successfully removed"),
        one(
            "NamespaceFinalizersRemaining",
            some(&left.finalizers, "Some content in the namespace has finalizers remaining", "in"),
            "SomeFinalizersRemain",
            "All content-preserving finalizers finished",
        ),
    ]
}

fn changes(ns: &Namespace, wanted: &[Value]) -> bool {
    let have: Vec<_> = ns.status.iter().flat_map(|s| s.conditions.iter().flatten()).collect();
    wanted.iter().any(|w| !have.iter().any(|h| w["type"] == h.type_ && w["status"] == h.status && w["message"] == h.message.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_condition_is_that_of_its_status() {
        let some = Left { objects: BTreeMap::from([("pods".to_owned(), 2)]), ..Left::default() };
        let first = conditions(&some, &[], "2026-01-01T00:00:00Z");
        let have: Vec<NamespaceCondition> = skiff_json::from_value(json!(first)).expect("conditions");
        let time = |all: &[Value], kind: &str| all.iter().find(|c| c["type"] == kind).map(|c| c["lastTransitionTime"].clone());
        let fewer = Left { objects: BTreeMap::from([("pods".to_owned(), 1)]), ..Left::default() };
        let next = conditions(&fewer, &have, "2026-01-01T00:00:09Z");
        assert_eq!(time(&next, "NamespaceContentRemaining"), Some(json!("2026-01-01T00:00:00Z")), "another message, the same status");
        let none = conditions(&Left::default(), &have, "2026-01-01T00:00:09Z");
        assert_eq!(time(&none, "NamespaceContentRemaining"), Some(json!("2026-01-01T00:00:09Z")));
        assert_eq!(time(&none, "NamespaceDeletionContentFailure"), Some(json!("2026-01-01T00:00:00Z")));
    }

    #[test]
    fn what_does_not_get_less_is_looked_at_less() {
        let mut seen = (usize::MAX, 0);
        let mut pauses = Vec::new();
        for now in [3, 3, 3, 2, 2] {
            seen = look_again(seen, now);
            pauses.push(pause(seen.1).as_millis());
        }
        assert_eq!(pauses, [250, 500, 1000, 250, 500]);
        assert_eq!(pause(60), LATEST);
    }
}
