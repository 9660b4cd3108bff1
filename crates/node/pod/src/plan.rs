//! What to do next for a pod that should run.
//!
//! A sync is a pure step: [`plan`] compares the pod with what the runtime has and the caller carries it out, then
//! asks again. The states of a pod, as the plan walks them:
//!
//! ```text
//!   no sandbox ──create──▶ sandbox ready ──init containers one by one──▶ initialised ──▶ regular containers run
//!        ▲                    │   ▲            (sidecars: started is enough)                  │
//!        └── sandbox lost ────┘   └───────────── restart of one container ────────────────────┤
//!                                                                                             ▼
//!                                              nothing runs and nothing will start: kill_pod (finished)
//! ```
use crate::probe::{ProbeKind, ProbeResults, Verdict};
use crate::restart::{restarts, restarts_after_kill, should_start};
use crate::{Observed, names, resize, view};
use k8s_openapi::api::core::v1::{Container, Pod};
use skiff_cri::{ContainerId, ContainerState, ContainerStatus, SandboxId, SandboxState};

/// Why a container is killed while the pod goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    DefinitionChanged,
    /// What it was allotted has changed, and its policy wants a restart for that.
    Resize,
    LivenessProbe,
    StartupProbe,
    /// Its state is not known: end it before another one starts.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub id: ContainerId,
    pub name: String,
    /// The text of the Killing event.
    pub message: String,
    pub reason: KillReason,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// End everything that runs, then (with `create_sandbox`) begin anew.
    pub kill_pod: bool,
    pub create_sandbox: bool,
    /// The attempt of the sandbox to create.
    pub attempt: u32,
    /// The sandbox in use.
    pub sandbox: Option<SandboxId>,
    pub kill: Vec<Kill>,
    /// Indexes into the pod's lists, in the order to start them.
    pub start_init: Vec<usize>,
    pub start: Vec<usize>,
    pub start_ephemeral: Vec<usize>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        !self.kill_pod && !self.create_sandbox && self.kill.is_empty() && self.start_init.is_empty() && self.start.is_empty() && self.start_ephemeral.is_empty()
    }
}

/// Why the pod's newest sandbox can't be used, with the message of the PodReadyToStartContainers condition.
pub fn sandbox_problem(pod: &Pod, observed: &Observed) -> Option<&'static str> {
    let Some(newest) = observed.sandboxes().first() else {
        return Some("no pod sandbox exists");
    };
    if observed.sandboxes().iter().filter(|s| s.state == SandboxState::Ready).count() > 1 {
        Some("multiple pod sandboxes are ready and need to be reconciled")
    } else if newest.state != SandboxState::Ready {
        Some("pod sandbox is not ready")
    } else if newest.namespaces.host_network != view::host_network(pod) {
        Some("network namespace mode changed and sandbox needs to be recreated")
    } else if !view::host_network(pod) && newest.ips.0.is_empty() {
        Some("pod sandbox has no IP address")
    } else {
        None
    }
}

/// `pod` has its allotment; `resize` is what follows from it.
pub fn plan(pod: &Pod, observed: &Observed, probes: &ProbeResults, resize: &[resize::Step]) -> Plan {
    let newest = observed.sandboxes().first();
    let mut p = Plan { sandbox: newest.map(|s| s.id.clone()), attempt: newest.map_or(0, |s| s.metadata.attempt), ..Plan::default() };
    if sandbox_problem(pod, observed).is_some() {
        p.attempt = newest.map_or(0, |s| s.metadata.attempt + 1);
        return begin_anew(pod, observed, p);
    }
    let ephemeral = view::ephemeral_containers(pod).iter().enumerate();
    p.start_ephemeral = ephemeral.filter(|(_, e)| observed.find(&e.name).is_none()).map(|(i, _)| i).collect();
    let initialised = init_actions(pod, observed, probes, resize, &mut p);
    if p.kill_pod || !initialised {
        return p;
    }
    regular_actions(pod, observed, probes, resize, &mut p);
    p
}

/// There is no usable sandbox: everything starts over, unless the pod has already done its work.
fn begin_anew(pod: &Pod, observed: &Observed, mut p: Plan) -> Plan {
    p.kill_pod = true;
    let spec = view::spec(pod);
    let ran_before = p.attempt != 0 && !observed.containers().is_empty();
    let may_restart = spec.containers.iter().any(|c| restarts_after_kill(c, spec));
    if ran_before && !may_restart {
        return p;
    }
    let succeeded = |c: &Container| observed.find(&c.name).is_some_and(|s| s.state == ContainerState::Exited && s.exit_code == 0);
    let policy = |c: &Container| c.restart_policy.clone().or(spec.restart_policy.clone());
    let once = |c: &Container| policy(c).as_deref() == Some("OnFailure") && succeeded(c);
    let never_again = |c: &Container| policy(c).as_deref() == Some("Never") && observed.find(&c.name).is_some_and(|s| s.state == ContainerState::Exited);
    let start: Vec<usize> = (0..spec.containers.len()).filter(|i| spec.containers.get(*i).is_some_and(|c| !once(c) && !never_again(c))).collect();
    if start.is_empty() && spec.containers.iter().any(|c| observed.find(&c.name).is_some()) {
        return p;
    }
    p.create_sandbox = true;
    if view::init_containers(pod).is_empty() {
        p.start = start;
    } else {
        p.start_init = vec![0];
    }
    p
}

/// Plans init containers and sidecars; true when the regular ones may run.
///
/// They are looked at from the last to the first: finished ones may have been removed already, so the last one with
/// a state says how far the pod has got.
fn init_actions(pod: &Pod, observed: &Observed, probes: &ProbeResults, resize: &[resize::Step], p: &mut Plan) -> bool {
    let all = view::init_containers(pod);
    if all.is_empty() {
        return true;
    }
    let mut initialised = observed.any_active(view::containers(pod).iter().map(|c| c.name.as_str()));
    let mut later_began = initialised;
    for (i, c) in all.iter().enumerate().rev() {
        let Some(status) = observed.find_active(&c.name) else {
            if later_began && view::is_sidecar(c) {
                p.start_init.push(i);
            }
            continue;
        };
        if later_began && !view::is_sidecar(c) {
            continue;
        }
        match init_step(pod, c, status, probes, resize) {
            Step::Wait => {}
            Step::Start(kill) => {
                p.kill.extend(kill);
                p.start_init.push(i);
            }
            Step::Done(restart) => {
                if i + 1 == all.len() {
                    initialised = true;
                } else if !later_began {
                    p.start_init.push(i + 1);
                }
                if let Some(kill) = restart {
                    p.kill.push(kill);
                    p.start_init.push(i);
                }
            }
            Step::Failed => {
                p.kill_pod = true;
                p.start_init.clear();
                return false;
            }
        }
        later_began = true;
    }
    if !later_began {
        p.start_init.push(0);
    }
    p.start_init.reverse();
    initialised
}

enum Step {
    Wait,
    /// Start it (again), after ending what may still run.
    Start(Option<Kill>),
    /// It has done its part; a sidecar may need a restart all the same.
    Done(Option<Kill>),
    Failed,
}

fn init_step(pod: &Pod, c: &Container, s: &ContainerStatus, probes: &ProbeResults, resize: &[resize::Step]) -> Step {
    let sidecar = view::is_sidecar(c);
    let kill = |message: String, reason| Kill { id: s.id.clone(), name: c.name.clone(), message, reason };
    match s.state {
        ContainerState::Created => Step::Start(None),
        ContainerState::Running if !sidecar => Step::Wait,
        ContainerState::Running => {
            if c.startup_probe.is_some() {
                match probes.get(&s.id, ProbeKind::Startup) {
                    Some(Verdict::Success) => {}
                    Some(Verdict::Failure) => {
                        return Step::Start(Some(kill(format!("Init container {} failed startup probe", c.name), KillReason::StartupProbe)));
                    }
                    _ => return Step::Wait,
                }
            }
            if changed(c, s) {
                return Step::Done(Some(kill(format!("Init container {} definition changed", c.name), KillReason::DefinitionChanged)));
            }
            if needs_restart(s, resize) {
                return Step::Done(Some(kill(resize_message(c), KillReason::Resize)));
            }
            if c.liveness_probe.is_some() && probes.get(&s.id, ProbeKind::Liveness) == Some(Verdict::Failure) {
                return Step::Done(Some(kill(format!("Init container {} failed liveness probe", c.name), KillReason::LivenessProbe)));
            }
            Step::Done(None)
        }
        ContainerState::Exited if sidecar => Step::Start(None),
        ContainerState::Exited if s.exit_code == 0 => Step::Done(None),
        ContainerState::Exited if restarts(c, view::spec(pod), s.exit_code) => Step::Start(None),
        ContainerState::Exited => Step::Failed,
        ContainerState::Unknown if sidecar || restarts_after_kill(c, view::spec(pod)) => {
            Step::Start(Some(kill("Init container is in \"unknown\" state, try killing it before restart".into(), KillReason::Unknown)))
        }
        ContainerState::Unknown => Step::Failed,
    }
}

fn regular_actions(pod: &Pod, observed: &Observed, probes: &ProbeResults, resize: &[resize::Step], p: &mut Plan) {
    let mut keep = 0;
    for (i, c) in view::containers(pod).iter().enumerate() {
        let status = observed.find(&c.name);
        let Some(s) = status.filter(|s| s.state == ContainerState::Running) else {
            if should_start(c, pod, observed) {
                p.start.push(i);
                if let Some(s) = status.filter(|s| s.state == ContainerState::Unknown) {
                    let message = "Container is in \"unknown\" state, try killing it before restart".to_owned();
                    p.kill.push(Kill { id: s.id.clone(), name: c.name.clone(), message, reason: KillReason::Unknown });
                }
            }
            continue;
        };
        let Some((mut message, reason, restart)) = kill_cause(pod, c, s, probes, resize) else {
            keep += 1;
            continue;
        };
        if restart && reason == KillReason::Resize {
            p.start.push(i);
        } else if restart {
            message += ", will be restarted";
            p.start.push(i);
        }
        p.kill.push(Kill { id: s.id.clone(), name: c.name.clone(), message, reason });
    }
    if keep == 0 && p.start.is_empty() {
        p.kill_pod = true;
        p.start_init.clear();
    }
}

/// Why a running container has to go, and whether it starts again.
fn kill_cause(pod: &Pod, c: &Container, s: &ContainerStatus, probes: &ProbeResults, resize: &[resize::Step]) -> Option<(String, KillReason, bool)> {
    let restart = restarts_after_kill(c, view::spec(pod));
    if changed(c, s) {
        return Some((format!("Container {} definition changed", c.name), KillReason::DefinitionChanged, true));
    }
    if probes.get(&s.id, ProbeKind::Liveness) == Some(Verdict::Failure) {
        return Some((format!("Container {} failed liveness probe", c.name), KillReason::LivenessProbe, restart));
    }
    if probes.get(&s.id, ProbeKind::Startup) == Some(Verdict::Failure) {
        return Some((format!("Container {} failed startup probe", c.name), KillReason::StartupProbe, restart));
    }
    if needs_restart(s, resize) {
        return Some((resize_message(c), KillReason::Resize, true));
    }
    None
}

fn needs_restart(s: &ContainerStatus, resize: &[resize::Step]) -> bool {
    resize.iter().any(|step| step.id == s.id && step.restart)
}
fn resize_message(c: &Container) -> String {
    format!("Container {} resize requires restart", c.name)
}

/// A container without the annotation was made by somebody else's rules: it is left alone.
fn changed(c: &Container, s: &ContainerStatus) -> bool {
    s.annotations.get(names::CONTAINER_HASH).is_some_and(|h| *h != names::container_hash(c))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
