//! One pod's turn: decide, assume, and hand on to the binder, or say why it fits nowhere.
use crate::bind::{Binder, Promise};
use k8s_openapi::api::core::v1::Pod;
use skiff_controller::{EventType, Regarding};
use skiff_sched::{Decision, Devices, FitError, NoRoom, PodFacts, Preemption, Scene, VolumeView, choose, preempt, schedule};
use std::sync::Arc;

pub(crate) async fn take(binder: &Arc<Binder>, key: &str) {
    let (namespace, name) = skiff_informer::split_key(key);
    let cluster = &binder.cluster;
    let Some(pod) = cluster.pods.get(namespace, name) else { return binder.queue.remove(key) };
    let mut facts = cluster.facts(&pod);
    if !facts.node.is_empty() || facts.terminating {
        return binder.queue.remove(key);
    }
    let nodes = || cluster.snapshot.lock().nodes().map(|n| n.facts.clone()).collect();
    let (view, (devices, mut allocations)) = (cluster.storage.view(&facts), cluster.storage.devices(&pod, nodes));
    let nominated: Vec<PodFacts> = cluster.nominated.lock().values().cloned().collect();
    let (decision, volumes) = {
        let mut snapshot = cluster.snapshot.lock();
        let scene = Scene { snapshot: &snapshot, volumes: &view, devices: &devices, nominated: &nominated };
        let decision = schedule(&facts, &scene, binder.clock.now().0 as u64);
        let mut volumes = Vec::new();
        if let Decision::Bind(node) = &decision {
            volumes = snapshot.node(node).and_then(|n| choose(&facts, &n.facts, &view).ok()).unwrap_or_default();
            facts.node.clone_from(node);
            snapshot.set_pod(facts.clone());
        }
        (decision, volumes)
    };
    match decision {
        Decision::Bind(node) => {
            cluster.nominated.lock().remove(key);
            for (claim, volume) in &volumes {
                if let Some(v) = volume {
                    cluster.storage.promise(v, &skiff_informer::key_of(namespace, claim));
                }
            }
            let given = allocations.remove(&node).unwrap_or_default();
            cluster.storage.give(&given);
            let (binder, pod) = (binder.clone(), Arc::new(pod));
            tokio::spawn(async move { binder.bind(&pod, &facts, &volumes, &given, &node).await });
        }
        Decision::Gated => {
            // It comes back when its spec changes.
            binder.queue.remove(key);
            binder.condition(&pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", Promise::Keep).await;
        }
        Decision::Unfit(error) => {
            let room = make_room(binder, &facts, &error, (&view, &devices), &nominated);
            binder.queue.park(key, error.wakes);
            unfit(binder, &pod, &facts, error, room).await;
        }
    }
}

fn make_room(
    binder: &Binder,
    facts: &PodFacts,
    error: &FitError,
    (view, devices): (&VolumeView, &Devices),
    nominated: &[PodFacts],
) -> Option<Result<Preemption, NoRoom>> {
    if error.nodes == 0 {
        return None;
    }
    let snapshot = binder.cluster.snapshot.lock();
    let scene = Scene { snapshot: &snapshot, volumes: view, devices, nominated };
    Some(preempt(facts, &scene, error, &binder.cluster.budgets()))
}

async fn unfit(binder: &Binder, pod: &Pod, facts: &PodFacts, mut error: FitError, room: Option<Result<Preemption, NoRoom>>) {
    let mut promise = Promise::Keep;
    match room {
        Some(Ok(plan)) => {
            error.preemption = plan.to_string();
            let mut promised = facts.clone();
            promised.nominated.clone_from(&plan.node);
            binder.cluster.nominated.lock().insert(facts.key(), promised);
            for victim in &plan.victims {
                binder.evict(victim, pod).await;
            }
            binder.displace(facts, &plan.node).await;
            promise = Promise::Set(plan.node);
        }
        Some(Err(why)) => {
            error.preemption = why.to_string();
            if matches!(why, NoRoom::Helpless { .. }) && !facts.nominated.is_empty() {
                binder.cluster.nominated.lock().remove(&facts.key());
                promise = Promise::Withdraw;
            }
        }
        None => {}
    }
    let message = error.to_string();
    binder.recorder.deed(&Regarding::of(pod), None, EventType::Warning, "FailedScheduling", "Scheduling", message.clone());
    binder.condition(pod, "Unschedulable", &message, promise).await;
}
