//! The conditions of a pod that the node owns.
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions>
use crate::status::StatusInputs;
use crate::view;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

const LASTING: [&str; 5] = ["PodScheduled", "Ready", "Initialized", "ContainersReady", "PodReadyToStartContainers"];
/// Conditions that the node owns and that go when they are no longer true.
pub const PASSING: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

/// Whether the node decides about it.
pub(crate) fn owned(kind: &str) -> bool {
    LASTING.contains(&kind) || PASSING.contains(&kind)
}

struct Answer {
    kind: &'static str,
    ok: bool,
    reason: &'static str,
    message: String,
}

impl Answer {
    fn yes(kind: &'static str) -> Self {
        Self { kind, ok: true, reason: "", message: String::new() }
    }
    fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, ok: false, reason, message: message.into() }
    }
}

/// Others' conditions as they are, then the node's own; transition times are kept where the status doesn't change.
pub fn conditions(i: &StatusInputs<'_>, s: &PodStatus, sandbox_problem: Option<&str>) -> Vec<PodCondition> {
    let (pod, now) = (i.pod, i.now);
    let api = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let mut all: Vec<PodCondition> = api.iter().filter(|c| !owned(&c.type_)).cloned().collect();
    let before = i.old.conditions.as_deref().unwrap_or_default();
    if let Some(disruption) = before.iter().find(|c| c.type_ == "DisruptionTarget") {
        all.retain(|c| c.type_ != disruption.type_);
        all.push(disruption.clone());
    }
    let phase = s.phase.as_deref().unwrap_or_default();
    let init = s.init_container_statuses.as_deref().unwrap_or_default();
    let regular = s.container_statuses.as_deref().unwrap_or_default();
    let started = match sandbox_problem {
        None => Answer::yes("PodReadyToStartContainers"),
        Some(why) => Answer::no("PodReadyToStartContainers", "PodSandboxNotReady", why),
    };
    let ready_containers = containers_ready(pod, init, regular, phase);
    let ready = ready(pod, &ready_containers, &all);
    let answers = [started, initialized(pod, init, regular, phase), ready, ready_containers, Answer::yes("PodScheduled")];
    let generation = pod.metadata.generation.filter(|g| *g > 0);
    all.extend(answers.into_iter().chain(resizing(i)).map(|a| condition(a, before, api, generation, now)));
    all
}

/// Both are there only while they are true.
fn resizing(i: &StatusInputs<'_>) -> Vec<Answer> {
    let pending = i.resize_pending.map(|p| Answer { reason: p.reason, message: p.message.clone(), ..Answer::yes("PodResizePending") });
    let progress =
        i.resize_progress.map(|e| Answer { reason: if e.is_empty() { "" } else { "Error" }, message: e.to_owned(), ..Answer::yes("PodResizeInProgress") });
    pending.into_iter().chain(progress).collect()
}

fn condition(a: Answer, before: &[PodCondition], api: &[PodCondition], generation: Option<i64>, now: Timestamp) -> PodCondition {
    let status = if a.ok { "True" } else { "False" };
    let same = |list: &[PodCondition]| list.iter().find(|c| c.type_ == a.kind && c.status == status).and_then(|c| c.last_transition_time.clone());
    PodCondition {
        type_: a.kind.into(),
        status: status.into(),
        reason: (!a.reason.is_empty()).then(|| a.reason.into()),
        message: (!a.message.is_empty()).then_some(a.message),
        last_transition_time: same(before).or_else(|| same(api)).or_else(|| Some(Time(whole_seconds(now)))),
        last_probe_time: None,
        observed_generation: generation,
    }
}

/// The API keeps whole seconds.
pub fn whole_seconds(t: Timestamp) -> Timestamp {
    Timestamp::from_second(t.as_second()).unwrap_or(t)
}

fn list(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn unready(unknown: &[&str], bad: &[&str], word: &str) -> String {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: {}", list(unknown)));
    }
    if !bad.is_empty() {
        parts.push(format!("containers with {word} status: {}", list(bad)));
    }
    parts.join(", ")
}

fn containers_ready(pod: &Pod, init: &[ContainerStatus], regular: &[ContainerStatus], phase: &str) -> Answer {
    const KIND: &str = "ContainersReady";
    let (mut unknown, mut bad) = (Vec::new(), Vec::new());
    let sidecars = view::init_containers(pod).iter().filter(|c| view::is_sidecar(c)).map(|c| (c, init));
    for (c, statuses) in sidecars.chain(view::containers(pod).iter().map(|c| (c, regular))) {
        match statuses.iter().find(|s| s.name == c.name) {
            None => unknown.push(c.name.as_str()),
            Some(s) if !s.ready => bad.push(c.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Answer::no(KIND, "PodCompleted", "");
    }
    if phase == "Failed" {
        return Answer::no(KIND, "PodFailed", "");
    }
    let message = unready(&unknown, &bad, "unready");
    if message.is_empty() { Answer::yes(KIND) } else { Answer::no(KIND, "ContainersNotReady", message) }
}

fn ready(pod: &Pod, containers: &Answer, conditions: &[PodCondition]) -> Answer {
    if !containers.ok {
        return Answer { kind: "Ready", ok: false, reason: containers.reason, message: containers.message.clone() };
    }
    let gates = view::spec(pod).readiness_gates.iter().flatten();
    let missing: Vec<String> = gates
        .filter_map(|g| match conditions.iter().find(|c| c.type_ == g.condition_type) {
            None => Some(format!("corresponding condition of pod readiness gate {:?} does not exist.", g.condition_type)),
            Some(c) if c.status != "True" => Some(format!("the status of pod readiness gate {:?} is not \"True\", but {}", g.condition_type, c.status)),
            Some(_) => None,
        })
        .collect();
    if missing.is_empty() { Answer::yes("Ready") } else { Answer::no("Ready", "ReadinessGatesNotReady", missing.join(", ")) }
}

fn initialized(pod: &Pod, init: &[ContainerStatus], regular: &[ContainerStatus], phase: &str) -> Answer {
    const KIND: &str = "Initialized";
    let (mut unknown, mut bad) = (Vec::new(), Vec::new());
    for c in view::init_containers(pod) {
        match init.iter().find(|s| s.name == c.name) {
            None => unknown.push(c.name.as_str()),
            Some(s) if view::is_sidecar(c) && s.started != Some(true) => bad.push(c.name.as_str()),
            Some(s) if !view::is_sidecar(c) && !s.ready => bad.push(c.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Answer { reason: "PodCompleted", ..Answer::yes(KIND) };
    }
    let began = |s: &ContainerStatus| {
        s.started == Some(true)
            || s.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some())
            || s.last_state.as_ref().is_some_and(|l| l.terminated.is_some())
    };
    if regular.iter().any(began) {
        return Answer::yes(KIND);
    }
    let message = unready(&unknown, &bad, "incomplete");
    if message.is_empty() { Answer::yes(KIND) } else { Answer::no(KIND, "ContainersNotInitialized", message) }
}
