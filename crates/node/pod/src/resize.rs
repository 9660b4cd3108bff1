//! In-place resize: what a pod was allotted, whether it gets what its spec asks for now, and the steps to that.
//!
//! ```text
//!   spec ──judge──▶ Accept: allotment = spec ──steps──▶ control groups changed, or a container restarted ──▶ actuated
//!              └──▶ Pending (Deferred: when others leave room; Infeasible: never here): the allotment stays
//! ```
//! Everything but [`judge`] works on the pod as [`Allotment::apply`] leaves it: the spec's wish counts only once it is
//! allotted. KEP-1287, <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>.
use crate::admit::NodeRoom;
use crate::view::{self, ResourceList};
use crate::{Observed, cgroup};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};
use skiff_cri::{ContainerId, ContainerState, Resources};
use skiff_json::json;
use skiff_meta::Quantity;
use std::collections::BTreeMap;

/// Requests and limits of a pod's containers and, where it has them, of the whole pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Allotment {
    containers: BTreeMap<String, ResourceRequirements>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<ResourceRequirements>,
}

impl Allotment {
    /// What the spec asks for.
    pub fn of(pod: &Pod) -> Self {
        let all = view::init_containers(pod).iter().chain(view::containers(pod));
        Self { containers: all.map(|c| (c.name.clone(), c.resources.clone().unwrap_or_default())).collect(), pod: view::spec(pod).resources.clone() }
    }
    /// Puts these in the place of the spec's; true when that changed anything.
    pub fn apply(&self, pod: &mut Pod) -> bool {
        let Some(spec) = pod.spec.as_mut() else { return false };
        let mut changed = false;
        for c in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            if let Some(r) = self.containers.get(&c.name).filter(|r| !same(c.resources.as_ref(), Some(r))) {
                c.resources = Some(r.clone());
                changed = true;
            }
        }
        if !same(spec.resources.as_ref(), self.pod.as_ref()) {
            spec.resources = self.pod.clone();
            changed = true;
        }
        changed
    }
    pub fn container(&self, name: &str) -> Option<&ResourceRequirements> {
        self.containers.get(name)
    }
}

fn amounts(list: Option<&ResourceList>) -> BTreeMap<&str, Option<Quantity>> {
    list.into_iter().flatten().map(|(k, v)| (k.as_str(), v.0.parse().ok())).collect()
}

/// Equal amounts, however they are written.
pub fn same(a: Option<&ResourceRequirements>, b: Option<&ResourceRequirements>) -> bool {
    let requests = |r: Option<&ResourceRequirements>| r.and_then(|r| r.requests.clone());
    let limits = |r: Option<&ResourceRequirements>| r.and_then(|r| r.limits.clone());
    amounts(requests(a).as_ref()) == amounts(requests(b).as_ref()) && amounts(limits(a).as_ref()) == amounts(limits(b).as_ref())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The spec asks for what the pod has.
    Settled,
    /// There is room: the spec's wish becomes the allotment.
    Accept,
    Pending(Pending),
}

/// Why a pod does not get what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// `Deferred` or `Infeasible`.
    pub reason: &'static str,
    pub message: String,
}

/// `others` have been allotted what their specs say; `pod` is as the API has it.
pub fn judge(pod: &Pod, allotted: &Allotment, others: &[&Pod], room: &NodeRoom) -> Verdict {
    if !allotted.apply(&mut pod.clone()) {
        return Verdict::Settled;
    }
    let pending = |reason, message: String| Verdict::Pending(Pending { reason, message });
    if view::is_static(pod) {
        return pending("Infeasible", "In-place resize of static-pods is not supported".into());
    }
    type Amount = fn(&Quantity) -> i64;
    let checks: [(&str, Amount, i64); 2] = [("cpu", Quantity::milli_value, room.cpu), ("memory", Quantity::value, room.memory)];
    for (resource, amount, capacity) in checks {
        let wanted = amount(&cgroup::pod_request(pod, resource));
        if wanted > capacity {
            return pending("Infeasible", format!("Node didn't have enough capacity: {resource}, requested: {wanted}, capacity: {capacity}"));
        }
    }
    for (resource, amount, capacity) in checks {
        let wanted = amount(&cgroup::pod_request(pod, resource));
        let used: i64 = others.iter().map(|p| amount(&cgroup::pod_request(p, resource))).sum();
        if wanted > 0 && wanted.saturating_add(used) > capacity {
            return pending("Deferred", format!("Node didn't have enough resource: {resource}, requested: {wanted}, used: {used}, capacity: {capacity}"));
        }
    }
    Verdict::Accept
}

/// What the running containers were last given, by container; another id means another container.
pub type Actuated = BTreeMap<String, (ContainerId, ResourceRequirements)>;

/// A running container that has something else than what is allotted to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub container: String,
    pub id: ContainerId,
    /// Its resize policy wants a restart for what changes.
    pub restart: bool,
    pub resources: Resources,
}

/// `pod` has its allotment. Containers that give something back come first.
pub fn steps(pod: &Pod, observed: &Observed, actuated: &Actuated, node_memory: i64) -> Vec<Step> {
    let one = |c: &Container| {
        let running = observed.find(&c.name).filter(|s| s.state == ContainerState::Running)?;
        let (_, had) = actuated.get(&c.name).filter(|(id, _)| *id == running.id)?;
        if same(c.resources.as_ref(), Some(had)) {
            return None;
        }
        let mut resources = cgroup::container(pod, c, node_memory);
        let grows = resources.memory_limit == 0 || resources.memory_limit > running.resources.memory_limit;
        lift(&mut resources);
        Some((grows, Step { container: c.name.clone(), id: running.id.clone(), restart: restarts(c, had), resources }))
    };
    let mut all: Vec<(bool, Step)> = view::init_containers(pod).iter().chain(view::containers(pod)).filter_map(one).collect();
    all.sort_by_key(|(grows, _)| *grows);
    all.into_iter().map(|(_, s)| s).collect()
}

/// No limit, said so that it takes an old one away.
pub fn lift(r: &mut Resources) {
    if r.cpu_quota == 0 {
        r.cpu_quota = -1;
    }
    if r.memory_limit == 0 {
        r.memory_limit = -1;
    }
}

/// What the pod's group needs while its containers change: the greater of before and after.
pub fn both(before: &Resources, after: &Resources) -> Resources {
    let wider = |a: i64, b: i64| if a <= 0 || b <= 0 { -1 } else { a.max(b) };
    Resources {
        cpu_shares: before.cpu_shares.max(after.cpu_shares),
        cpu_quota: wider(before.cpu_quota, after.cpu_quota),
        cpu_period: after.cpu_period,
        memory_limit: wider(before.memory_limit, after.memory_limit),
        ..Resources::default()
    }
}

fn restarts(c: &Container, had: &ResourceRequirements) -> bool {
    let wants = |resource: &str| c.resize_policy.iter().flatten().any(|p| p.resource_name == resource && p.restart_policy == "RestartContainer");
    ["cpu", "memory"].into_iter().any(|resource| {
        let of = |r: Option<&ResourceRequirements>| {
            (view::quantity(r.and_then(|r| r.requests.as_ref()), resource), view::quantity(r.and_then(|r| r.limits.as_ref()), resource))
        };
        wants(resource) && of(c.resources.as_ref()) != of(Some(had))
    })
}

/// Why a memory limit cannot be set now. `usage` in bytes; `limit` zero or less is none.
pub fn below_usage(container: Option<&str>, limit: i64, usage: u64) -> Option<String> {
    let usage = i64::try_from(usage).unwrap_or(i64::MAX);
    let what = container.map_or_else(|| "pod".to_owned(), |c| format!("container {c:?}"));
    (limit > 0 && limit < usage).then(|| format!("attempting to set {what} memory limit ({limit}) below current usage ({usage})"))
}

/// The text of a resize's event.
pub fn event_text(prefix: &str, pod: &Pod, error: &str) -> String {
    let list = |all: &[Container]| all.iter().map(|c| json!({"name": c.name, "resources": c.resources.clone().unwrap_or_default()})).collect::<Vec<_>>();
    let mut parts = Vec::new();
    for (key, all) in [("initContainers", list(view::init_containers(pod))), ("containers", list(view::containers(pod)))] {
        if !all.is_empty() {
            parts.push(format!("{}:{}", json!(key), json!(all)));
        }
    }
    parts.push(format!("\"generation\":{}", pod.metadata.generation.unwrap_or_default()));
    if !error.is_empty() {
        parts.push(format!("\"error\":{}", json!(error)));
    }
    format!("{prefix}: {{{}}}", parts.join(","))
}

#[cfg(test)]
#[path = "resize_tests.rs"]
mod tests;
