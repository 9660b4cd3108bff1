//! One pod's turn: decide, assume, and hand on to the binder, or say why it fits nowhere.
use crate::bind::Binder;
use k8s_openapi::api::core::v1::Pod;
use skiff_controller::Regarding;
use skiff_sched::{Decision, FitError, PodFacts, preempt, schedule};
use std::sync::Arc;

pub(crate) async fn take(binder: &Arc<Binder>, key: &str) {
    let (namespace, name) = skiff_informer::split_key(key);
    let Some(pod) = binder.cluster.pods.get(namespace, name) else { return binder.queue.remove(key) };
    let mut facts = PodFacts::of(&pod);
    if !facts.node.is_empty() || facts.terminating {
        return binder.queue.remove(key);
    }
    let view = binder.cluster.view(&facts);
    let nominated: Vec<PodFacts> = binder.cluster.nominated.lock().values().cloned().collect();
    let decision = {
        let mut snapshot = binder.cluster.snapshot.lock();
        let decision = schedule(&facts, &snapshot, &view, &nominated, binder.clock.now().0 as u64);
        if let Decision::Bind(node) = &decision {
            facts.node.clone_from(node);
            snapshot.set_pod(facts.clone());
        }
        decision
    };
    match decision {
        Decision::Bind(node) => {
            binder.cluster.nominated.lock().remove(key);
            let (binder, pod) = (binder.clone(), Arc::new(pod));
            tokio::spawn(async move { binder.bind(&pod, &facts, &view, &node).await });
        }
        Decision::Gated => {
            binder.queue.park(key);
            binder.condition(&pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", None).await;
        }
        Decision::Unfit(error) => {
            binder.queue.park(key);
            unfit(binder, &pod, &facts, error).await;
        }
    }
}

async fn unfit(binder: &Binder, pod: &Pod, facts: &PodFacts, mut error: FitError) {
    let view = binder.cluster.view(facts);
    let plan = {
        let snapshot = binder.cluster.snapshot.lock().clone();
        let waits = snapshot.node(&facts.nominated).is_some_and(|n| n.pods.values().any(|p| p.terminating && p.priority < facts.priority));
        // The victims of an earlier plan are on their way out.
        if waits { None } else { preempt(facts, &snapshot, &view, &error.candidates, &binder.cluster.budgets()) }
    };
    let mut nominated = None;
    match plan {
        Some(plan) => {
            nominated = Some(plan.node.clone());
            let mut promised = facts.clone();
            promised.nominated.clone_from(&plan.node);
            binder.cluster.nominated.lock().insert(facts.key(), promised);
            for victim in &plan.victims {
                binder.evict(victim, pod).await;
            }
        }
        None if error.nodes > 0 => {
            let firm = error.nodes - error.candidates.len().min(error.nodes);
            let mut parts = Vec::new();
            if !error.candidates.is_empty() {
                parts.push(format!("{} No preemption victims found for incoming pod", error.candidates.len()));
            }
            if firm > 0 {
                parts.push(format!("{firm} Preemption is not helpful for scheduling"));
            }
            error.preemption = format!("0/{} nodes are available: {}.", error.nodes, parts.join(", "));
        }
        None => {}
    }
    let message = error.to_string();
    binder.recorder.warning(&Regarding::of(pod), "FailedScheduling", message.clone());
    binder.condition(pod, "Unschedulable", &message, nominated.as_deref()).await;
}
