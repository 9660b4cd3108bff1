//! The phase of a pod, out of its containers' statuses.
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>
use crate::{restart::restarts, view};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

/// What a container's status says about progress.
#[derive(Clone, Copy)]
enum Stage {
    Missing,
    Running {
        started: bool,
    },
    /// It ended with this code, and may be waiting to start again.
    Ended {
        exit_code: i32,
        waiting: bool,
    },
    Waiting,
    Unknown,
}

fn stage(statuses: &[ContainerStatus], name: &str) -> Stage {
    let Some(s) = statuses.iter().find(|s| s.name == name) else {
        return Stage::Missing;
    };
    let state = s.state.as_ref();
    if state.is_some_and(|s| s.running.is_some()) {
        return Stage::Running { started: s.started == Some(true) };
    }
    if let Some(t) = state.and_then(|s| s.terminated.as_ref()) {
        return Stage::Ended { exit_code: t.exit_code, waiting: false };
    }
    if state.is_some_and(|s| s.waiting.is_some()) {
        return match s.last_state.as_ref().and_then(|l| l.terminated.as_ref()) {
            Some(t) => Stage::Ended { exit_code: t.exit_code, waiting: true },
            None => Stage::Waiting,
        };
    }
    Stage::Unknown
}

#[derive(Default)]
struct Tally {
    pending_init: u32,
    pending_sidecars: u32,
    init_failed_for_good: u32,
    unknown: u32,
    running: u32,
    waiting: u32,
    stopped: u32,
    stopped_for_good: u32,
    succeeded: u32,
}

impl Tally {
    fn init(&mut self, stage: Stage, c: &Container, pod: &Pod) {
        match stage {
            Stage::Ended { exit_code: 0, waiting: _ } => {}
            Stage::Ended { exit_code, .. } => self.init_failed_for_good += u32::from(!restarts(c, view::spec(pod), exit_code)),
            Stage::Missing | Stage::Running { .. } | Stage::Waiting | Stage::Unknown => self.pending_init += 1,
        }
    }
    fn sidecar(&mut self, stage: Stage) {
        match stage {
            Stage::Missing => self.unknown += 1,
            Stage::Running { started } => {
                self.pending_sidecars += u32::from(!started);
                self.running += 1;
            }
            Stage::Ended { .. } => {}
            Stage::Waiting => {
                self.pending_sidecars += 1;
                self.waiting += 1;
            }
            Stage::Unknown => {
                self.pending_sidecars += 1;
                self.unknown += 1;
            }
        }
    }
    fn regular(&mut self, stage: Stage, c: &Container, pod: &Pod) {
        match stage {
            Stage::Missing | Stage::Unknown => self.unknown += 1,
            Stage::Running { .. } => self.running += 1,
            Stage::Waiting => self.waiting += 1,
            Stage::Ended { exit_code, waiting } => {
                self.stopped += 1;
                self.succeeded += u32::from(!waiting && exit_code == 0);
                self.stopped_for_good += u32::from(!restarts(c, view::spec(pod), exit_code));
            }
        }
    }
}

/// `terminal`: its containers have ended and won't be restarted whatever the policy says (deleted, evicted, deadline).
/// `has_initialised`: a regular container has been started.
pub fn phase(pod: &Pod, statuses: &[ContainerStatus], terminal: bool, has_initialised: bool) -> &'static str {
    let mut t = Tally::default();
    for c in view::init_containers(pod) {
        let stage = stage(statuses, &c.name);
        if view::is_sidecar(c) { t.sidecar(stage) } else { t.init(stage, c, pod) }
    }
    for c in view::containers(pod) {
        t.regular(stage(statuses, &c.name), c, pod);
    }
    if t.init_failed_for_good > 0 {
        return "Failed";
    }
    if t.pending_init > 0 || (t.pending_sidecars > 0 && !has_initialised) || t.waiting > 0 {
        return "Pending";
    }
    let ended = if t.stopped == t.succeeded { "Succeeded" } else { "Failed" };
    match (t.running, t.stopped, t.unknown) {
        (1.., _, 0) => "Running",
        (0, 1.., 0) if terminal && !view::is_static(pod) => ended,
        (0, 1.., 0) if t.stopped != t.stopped_for_good => "Running",
        (0, 1.., 0) => ended,
        _ => "Pending",
    }
}
