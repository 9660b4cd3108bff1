//! The status of each container, as the API shows it.
use crate::restart::should_start;
use crate::status::{StatusInputs, api_time};
use crate::view::{self, Role};
use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus as ApiStatus, ContainerUser,
    LinuxContainerUser, VolumeMountStatus,
};
use skiff_cri::{ContainerState, ContainerStatus, ExitReason};

/// Statuses of `containers`, which all have this role, in their order. `old` is what was reported last.
pub fn statuses(i: &StatusInputs<'_>, containers: &[Container], role: Role, old: &[ApiStatus]) -> Vec<ApiStatus> {
    let has_init = !view::init_containers(i.pod).is_empty();
    let default_reason = if has_init && role != Role::Ephemeral { "PodInitializing" } else { "ContainerCreating" };
    containers.iter().map(|c| one(i, c, role, old.iter().find(|s| s.name == c.name), default_reason)).collect()
}

fn waiting(reason: &str, message: Option<String>) -> ApiState {
    let reason = (!reason.is_empty()).then(|| reason.to_owned());
    ApiState { waiting: Some(ContainerStateWaiting { reason, message }), ..ApiState::default() }
}

fn one(i: &StatusInputs<'_>, c: &Container, role: Role, old: Option<&ApiStatus>, default_reason: &str) -> ApiStatus {
    let mut history = i.observed.containers().iter().filter(|s| s.metadata.name == c.name);
    let mut status = match history.next() {
        None => unseen(i, c, old, default_reason),
        Some(newest) => {
            let mut s = seen(i, c, newest, old);
            if let Some(previous) = history.next() {
                s.last_state = Some(state_of(i, previous)).filter(|l| l.terminated.is_some());
            }
            s
        }
    };
    status.volume_mounts = mounts(c);
    explain_wait(i, c, role, &mut status);
    if status.last_state.is_none() {
        status.last_state = Some(ApiState::default());
    }
    status
}

/// The runtime has no such container (yet, or any more).
fn unseen(i: &StatusInputs<'_>, c: &Container, old: Option<&ApiStatus>, default_reason: &str) -> ApiStatus {
    let mut s = ApiStatus {
        name: c.name.clone(),
        image: c.image.clone().unwrap_or_default(),
        state: Some(waiting(default_reason, None)),
        started: Some(false),
        ..ApiStatus::default()
    };
    let Some(old) = old else { return s };
    let was = old.state.as_ref();
    if was.is_some_and(|s| s.terminated.is_some()) {
        return old.clone();
    }
    s.restart_count = old.restart_count;
    s.last_state = old.last_state.clone();
    let ended_before = s.last_state.as_ref().is_some_and(|l| l.terminated.is_some());
    if was.is_some_and(|s| s.running.is_some()) && !ended_before {
        let message = "The container could not be located when the pod was deleted.  The container used to be Running";
        let lost =
            ContainerStateTerminated { reason: Some(ExitReason::Lost.as_str().into()), message: Some(message.into()), exit_code: 137, ..Default::default() };
        s.last_state = Some(ApiState { terminated: Some(lost), ..ApiState::default() });
        s.restart_count += i32::from(!view::deleted(i.pod));
    }
    s
}

fn seen(i: &StatusInputs<'_>, c: &Container, cs: &ContainerStatus, old: Option<&ApiStatus>) -> ApiStatus {
    let mut s = ApiStatus {
        name: c.name.clone(),
        image: if cs.image_ref.is_empty() { c.image.clone().unwrap_or_default() } else { cs.image_ref.clone() },
        image_id: i.image_id(cs),
        container_id: Some(format!("{}://{}", i.runtime_name, cs.id)),
        restart_count: i32::try_from(cs.metadata.attempt).unwrap_or(i32::MAX),
        state: Some(state_of(i, cs)),
        last_state: old.and_then(|o| o.last_state.clone()),
        ..ApiStatus::default()
    };
    let was_running = old.is_some_and(|o| o.state.as_ref().is_some_and(|s| s.running.is_some()));
    if cs.state == ContainerState::Unknown && was_running {
        let message = "The container could not be located when the pod was terminated";
        let lost =
            ContainerStateTerminated { reason: Some(ExitReason::Lost.as_str().into()), message: Some(message.into()), exit_code: 137, ..Default::default() };
        s.state = Some(ApiState { terminated: Some(lost), ..ApiState::default() });
        s.restart_count = old.map_or(0, |o| o.restart_count) + 1;
    }
    if let Some(r) = c.resources.as_ref() {
        s.allocated_resources = r.requests.clone();
        let given = i.actuated.get(&c.name).filter(|(id, _)| *id == cs.id).map(|(_, r)| r);
        s.resources = Some(given.unwrap_or(r).clone());
    } else {
        s.resources = Some(Default::default());
    }
    s.user = cs.user.as_ref().map(|(uid, gid, groups)| ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: i64::from(*uid),
            gid: i64::from(*gid),
            supplemental_groups: Some(groups.iter().map(|g| i64::from(*g)).collect()),
        }),
    });
    s
}

fn state_of(i: &StatusInputs<'_>, cs: &ContainerStatus) -> ApiState {
    match cs.state {
        ContainerState::Running => ApiState { running: Some(ContainerStateRunning { started_at: api_time(cs.started_at) }), ..ApiState::default() },
        ContainerState::Exited => ApiState { terminated: Some(terminated(i, cs)), ..ApiState::default() },
        ContainerState::Created | ContainerState::Unknown => waiting("", None),
    }
}

fn terminated(i: &StatusInputs<'_>, cs: &ContainerStatus) -> ContainerStateTerminated {
    let message = i.messages.get(&cs.id).filter(|m| !m.is_empty()).cloned().or_else(|| (!cs.message.is_empty()).then(|| cs.message.clone()));
    let reason = match cs.reason {
        Some(ExitReason::StartError) => "StartError",
        Some(r) => r.as_str(),
        None if cs.exit_code == 0 => "Completed",
        None => "Error",
    };
    ContainerStateTerminated {
        exit_code: cs.exit_code,
        reason: Some(reason.into()),
        message,
        started_at: api_time(cs.started_at),
        finished_at: api_time(cs.finished_at),
        container_id: Some(format!("{}://{}", i.runtime_name, cs.id)),
        signal: None,
    }
}

/// A container that should start and didn't is waiting, for the reason that stopped it.
fn explain_wait(i: &StatusInputs<'_>, c: &Container, role: Role, s: &mut ApiStatus) {
    let cs = i.observed.find(&c.name);
    if matches!(role, Role::Init) {
        if cs.is_some_and(|s| s.state == ContainerState::Exited && s.exit_code == 0) {
            return;
        }
        let began = view::containers(i.pod).iter().any(|r| i.observed.find(&r.name).is_some());
        if cs.is_none() && began && s.state.as_ref().is_some_and(|s| s.waiting.is_some()) {
            let message = "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally";
            let done = ContainerStateTerminated { reason: Some("Completed".into()), message: Some(message.into()), ..Default::default() };
            s.state = Some(ApiState { terminated: Some(done), ..ApiState::default() });
            return;
        }
    }
    if !should_start(c, i.pod, i.observed) || (role == Role::Ephemeral && cs.is_some()) {
        return;
    }
    let Some(failure) = i.failures.get(&c.name) else { return };
    if s.state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        s.last_state = s.state.take();
    }
    s.state = Some(waiting(&failure.reason, Some(failure.message.clone()).filter(|m| !m.is_empty())));
}

fn mounts(c: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = c.volume_mounts.as_ref()?;
    let one = |m: &k8s_openapi::api::core::v1::VolumeMount| {
        let readonly = m.read_only == Some(true);
        let mode = || if matches!(m.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")) { "Enabled" } else { "Disabled" };
        VolumeMountStatus {
            name: m.name.clone(),
            mount_path: m.mount_path.clone(),
            read_only: readonly.then_some(true),
            recursive_read_only: readonly.then(|| mode().to_owned()),
            ..Default::default()
        }
    };
    Some(mounts.iter().map(one).collect())
}
