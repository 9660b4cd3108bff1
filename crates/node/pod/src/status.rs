//! The whole status of a pod.
use crate::probe::{ProbeKind, ProbeResults, Verdict};
use crate::view::{self, Role};
use crate::{Observed, cgroup, conditions, container_status, phase, plan::sandbox_problem, qos, resize};
use k8s_openapi::api::core::v1::{Container, ContainerStatus as ApiStatus, HostIP, Pod, PodIP, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use skiff_cri::{ContainerId, ContainerStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Why a container couldn't be started: the waiting reason (`ErrImagePull`, `CrashLoopBackOff`, …) and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFailure {
    pub reason: String,
    pub message: String,
}

/// Everything a status is made of.
pub struct StatusInputs<'a> {
    pub pod: &'a Pod,
    pub observed: &'a Observed,
    pub probes: &'a ProbeResults,
    /// By container name.
    pub failures: &'a BTreeMap<String, StartFailure>,
    /// Termination messages by container.
    pub messages: &'a BTreeMap<ContainerId, String>,
    /// `name@sha256:…` by image id, for imageID.
    pub image_digests: &'a BTreeMap<String, String>,
    /// What was reported last; the API's view after a restart of the node agent.
    pub old: &'a PodStatus,
    /// The scheme of container ids.
    pub runtime_name: &'a str,
    pub node_ips: &'a [IpAddr],
    pub actuated: &'a resize::Actuated,
    /// Why the pod's spec is not allotted to it yet.
    pub resize_pending: Option<&'a resize::Pending>,
    /// A resize is under way; the text is what went wrong at the last try.
    pub resize_progress: Option<&'a str>,
    /// Containers have ended and none starts again, whatever the policy says.
    pub terminal: bool,
    /// Phase, reason and message decided elsewhere: evicted, past its deadline, rejected.
    pub verdict: Option<(&'a str, &'a str, &'a str)>,
    pub now: Timestamp,
}

impl StatusInputs<'_> {
    pub(crate) fn image_id(&self, c: &ContainerStatus) -> String {
        self.image_digests.get(c.image.as_str()).cloned().unwrap_or_else(|| c.image.to_string())
    }
}

/// Nanoseconds since 1970 in the API's whole seconds; None when zero.
pub(crate) fn api_time(nanos: i64) -> Option<Time> {
    (nanos > 0).then(|| Timestamp::from_second(nanos / 1_000_000_000).ok().map(Time)).flatten()
}

pub fn pod_status(i: &StatusInputs<'_>) -> PodStatus {
    let mut s = PodStatus { start_time: i.old.start_time.clone().or_else(|| Some(Time(conditions::whole_seconds(i.now)))), ..PodStatus::default() };
    carry_over(i, &mut s);
    fill_containers(i, &mut s);
    whole(i, &mut s);
    settle_phase(i, &mut s);
    readiness(i, &mut s);
    addresses(i, &mut s);
    s.conditions = Some(conditions::conditions(i, &s, sandbox_problem(i.pod, i.observed)));
    s
}

/// Fields that others own or that never change.
fn carry_over(i: &StatusInputs<'_>, s: &mut PodStatus) {
    s.qos_class = Some(qos::of(i.pod).as_str().into());
    s.observed_generation = i.pod.metadata.generation.filter(|g| *g > 0);
    if let Some(api) = &i.pod.status {
        s.nominated_node_name = api.nominated_node_name.clone();
        s.resource_claim_statuses = api.resource_claim_statuses.clone();
        s.extended_resource_claim_status = api.extended_resource_claim_status.clone();
    }
}

/// What the whole pod was given, and has: the old figures while that changes.
fn whole(i: &StatusInputs<'_>, s: &mut PodStatus) {
    let names: BTreeSet<&String> = view::init_containers(i.pod)
        .iter()
        .chain(view::containers(i.pod))
        .filter_map(|c| c.resources.as_ref())
        .chain(&view::spec(i.pod).resources)
        .flat_map(|r| r.requests.iter().chain(&r.limits).flatten().map(|(k, _)| k))
        .collect();
    let total = |of: &dyn Fn(&str) -> Option<skiff_meta::Quantity>| {
        let list: view::ResourceList = names.iter().filter_map(|n| Some(((*n).clone(), Quantity(of(n)?.to_string())))).collect();
        (!list.is_empty()).then_some(list)
    };
    let requests = total(&|n| Some(cgroup::pod_request(i.pod, n)).filter(|q| *q != skiff_meta::Quantity::ZERO));
    let limits = total(&|n| cgroup::pod_limit(i.pod, n));
    s.allocated_resources = requests.clone();
    s.resources = i.old.resources.clone().filter(|_| i.resize_progress.is_some());
    s.resources = s.resources.take().or(Some(ResourceRequirements { requests, limits, claims: None }));
}

fn fill_containers(i: &StatusInputs<'_>, s: &mut PodStatus) {
    let old = |list: &Option<Vec<ApiStatus>>| list.clone().unwrap_or_default();
    let old_init = old(&i.old.init_container_statuses);
    let init: Vec<ApiStatus> = view::init_containers(i.pod)
        .iter()
        .flat_map(|c| container_status::statuses(i, std::slice::from_ref(c), if view::is_sidecar(c) { Role::Sidecar } else { Role::Init }, &old_init))
        .collect();
    s.init_container_statuses = (!init.is_empty()).then_some(init);
    let mut regular = container_status::statuses(i, view::containers(i.pod), Role::Regular, &old(&i.old.container_statuses));
    regular.sort_by(|a, b| a.name.cmp(&b.name));
    s.container_statuses = (!regular.is_empty()).then_some(regular);
    let ephemeral: Vec<Container> = view::ephemeral_containers(i.pod).iter().map(view::as_container).collect();
    let mut ephemeral = container_status::statuses(i, &ephemeral, Role::Ephemeral, &old(&i.old.ephemeral_container_statuses));
    ephemeral.sort_by(|a, b| a.name.cmp(&b.name));
    s.ephemeral_container_statuses = (!ephemeral.is_empty()).then_some(ephemeral);
}

fn settle_phase(i: &StatusInputs<'_>, s: &mut PodStatus) {
    mark_started(i, s);
    let mut all = s.init_container_statuses.clone().unwrap_or_default();
    all.extend(s.container_statuses.iter().flatten().cloned());
    let initialised = i.observed.any_active(view::containers(i.pod).iter().map(|c| c.name.as_str()));
    let mut now = phase::phase(i.pod, &all, i.terminal, initialised).to_owned();
    let done = |p: Option<&str>| matches!(p, Some("Succeeded" | "Failed"));
    let api = i.pod.status.as_ref();
    for before in [i.old.phase.as_deref(), api.and_then(|a| a.phase.as_deref())] {
        if done(before) {
            now = before.unwrap_or_default().to_owned();
        }
    }
    if Some(now.as_str()) == i.old.phase.as_deref() {
        s.reason = i.old.reason.clone().or_else(|| api.and_then(|a| a.reason.clone()));
        s.message = i.old.message.clone().or_else(|| api.and_then(|a| a.message.clone()));
    }
    if let Some((phase, reason, message)) = i.verdict {
        now = phase.into();
        s.reason = Some(reason.to_owned()).filter(|r| !r.is_empty());
        s.message = Some(message.to_owned()).filter(|m| !m.is_empty());
    }
    s.phase = Some(now);
}

fn container_id(s: &ApiStatus) -> Option<ContainerId> {
    s.container_id.as_deref()?.split_once("://").map(|(_, id)| ContainerId::new(id))
}
fn running(s: &ApiStatus) -> bool {
    s.state.as_ref().is_some_and(|s| s.running.is_some())
}

/// `started`: it runs, and its startup probe (when it has one) has passed.
fn mark_started(i: &StatusInputs<'_>, s: &mut PodStatus) {
    let spec_of = |name: &str| view::find_container(i.pod, name).map(|(_, c)| c);
    for list in [&mut s.init_container_statuses, &mut s.container_statuses, &mut s.ephemeral_container_statuses] {
        for status in list.iter_mut().flatten() {
            let passed = match (spec_of(&status.name).and_then(|c| c.startup_probe), container_id(status)) {
                (None, _) => true,
                (Some(_), Some(id)) => i.probes.get(&id, ProbeKind::Startup) == Some(Verdict::Success),
                (Some(_), None) => false,
            };
            status.started = Some(running(status) && passed);
        }
    }
}

fn readiness(i: &StatusInputs<'_>, s: &mut PodStatus) {
    for status in s.container_statuses.iter_mut().flatten() {
        let probe = view::containers(i.pod).iter().find(|c| c.name == status.name).and_then(|c| c.readiness_probe.as_ref());
        status.ready = is_ready(i, status, probe.is_some());
    }
    for status in s.init_container_statuses.iter_mut().flatten() {
        let Some(c) = view::init_containers(i.pod).iter().find(|c| c.name == status.name) else { continue };
        status.ready = if view::is_sidecar(c) {
            is_ready(i, status, c.readiness_probe.is_some())
        } else {
            status.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0)
        };
    }
}

fn is_ready(i: &StatusInputs<'_>, status: &ApiStatus, has_probe: bool) -> bool {
    let passed = || container_id(status).is_some_and(|id| i.probes.get(&id, ProbeKind::Readiness) == Some(Verdict::Success));
    running(status) && status.started == Some(true) && (!has_probe || passed())
}

fn addresses(i: &StatusInputs<'_>, s: &mut PodStatus) {
    let texts = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>();
    let host = texts(i.node_ips);
    s.host_ip = host.first().cloned();
    s.host_ips = (!host.is_empty()).then(|| host.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    let observed = i.observed.sandboxes().first().map(|b| texts(&b.ips.0)).unwrap_or_default();
    let kept: Vec<String> = i.old.pod_ips.iter().flatten().map(|p| p.ip.clone()).collect();
    let ips = if view::host_network(i.pod) && !i.observed.sandboxes().is_empty() {
        host
    } else if observed.is_empty() {
        kept
    } else {
        observed
    };
    s.pod_ip = ips.first().cloned();
    s.pod_ips = (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect());
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
