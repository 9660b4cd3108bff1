//! Resources of containers and pods as the kernel takes them.
use crate::qos::{self, Qos};
use crate::view::{self, ResourceList};
use k8s_openapi::api::core::v1::{Container, Pod};
use skiff_cri::{HugepageLimit, Resources};
use skiff_meta::Quantity;

const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;
/// Microseconds.
const PERIOD: u64 = 100_000;
const MIN_QUOTA: i64 = 1000;

pub fn shares(millicores: i64) -> u64 {
    let n = u64::try_from(millicores).unwrap_or(0) * 1024 / 1000;
    n.clamp(MIN_SHARES, MAX_SHARES)
}
/// Microseconds of each period; 0 is no limit.
pub fn quota(millicores: i64) -> i64 {
    if millicores <= 0 { 0 } else { (millicores * PERIOD as i64 / 1000).max(MIN_QUOTA) }
}

/// `node_memory` is the node's capacity in bytes.
pub fn container(pod: &Pod, c: &Container, node_memory: i64) -> Resources {
    let r = c.resources.as_ref();
    let limits = r.and_then(|r| r.limits.as_ref());
    let requests = r.and_then(|r| r.requests.as_ref());
    let cpu_limit = view::quantity(limits, "cpu").map_or(0, |q| q.milli_value());
    let cpu_request = view::quantity(requests, "cpu").map(|q| q.milli_value()).unwrap_or(cpu_limit);
    Resources {
        cpu_shares: shares(cpu_request),
        cpu_quota: quota(cpu_limit),
        cpu_period: PERIOD,
        memory_limit: view::quantity(limits, "memory").map_or(0, |q| q.value()),
        hugepages: hugepages(limits),
        oom_score_adj: oom_score_adj(pod, c, node_memory),
        ..Resources::default()
    }
}

fn hugepages(limits: Option<&ResourceList>) -> Vec<HugepageLimit> {
    let one = |(name, q): (&String, &k8s_openapi::apimachinery::pkg::api::resource::Quantity)| {
        let size = name.strip_prefix("hugepages-")?;
        let page_size = size.replace("Mi", "MB").replace("Gi", "GB").replace("Ki", "KB");
        Some(HugepageLimit { page_size, limit: u64::try_from(q.0.parse::<Quantity>().ok()?.value()).ok()? })
    };
    limits.into_iter().flatten().filter_map(one).collect()
}

pub fn oom_score_adj(pod: &Pod, c: &Container, node_memory: i64) -> i32 {
    let critical =
        matches!(view::spec(pod).priority_class_name.as_deref(), Some("system-node-critical")) || view::spec(pod).priority.is_some_and(|p| p >= 2_000_001_000);
    match qos::of(pod) {
        _ if critical => -997,
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = view::request(c, "memory").map_or(0, |q| q.value());
            let score = |bytes: i64| 1000 - i128::from(bytes) * 1000 / i128::from(node_memory.max(1));
            let mut adj = score(request);
            if view::is_sidecar(c) {
                let least = view::containers(pod).iter().map(|c| view::request(c, "memory").map_or(0, |q| q.value())).min();
                adj = adj.min(score(least.unwrap_or(0)));
            }
            i32::try_from(adj.clamp(3, 999)).unwrap_or(999)
        }
    }
}

/// Requests or limits of the whole pod: containers and sidecars together, or the greatest init container if that is
/// more, and the overhead. None for limits when a container has none.
pub fn pod_total(pod: &Pod, resource: &str, of: fn(&Container, &str) -> Option<Quantity>, all_needed: bool) -> Option<Quantity> {
    let regular: Vec<Option<Quantity>> = view::containers(pod).iter().map(|c| of(c, resource)).collect();
    if all_needed && regular.iter().any(Option::is_none) {
        return None;
    }
    let mut sum: Quantity = regular.into_iter().flatten().sum();
    let (mut sidecars, mut peak) = (Quantity::ZERO, Quantity::ZERO);
    for c in view::init_containers(pod) {
        let q = of(c, resource).or((!all_needed).then_some(Quantity::ZERO))?;
        if view::is_sidecar(c) {
            sidecars = sidecars + q;
            sum = sum + q;
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + q);
        }
    }
    let overhead = view::quantity(view::spec(pod).overhead.as_ref(), resource).unwrap_or_default();
    Some(sum.max(peak) + overhead)
}

pub fn pod_request(pod: &Pod, resource: &str) -> Quantity {
    let own = view::spec(pod).resources.as_ref().and_then(|r| view::quantity(r.requests.as_ref(), resource));
    own.or_else(|| pod_total(pod, resource, view::request, false)).unwrap_or_default()
}
pub fn pod_limit(pod: &Pod, resource: &str) -> Option<Quantity> {
    let own = view::spec(pod).resources.as_ref().and_then(|r| view::quantity(r.limits.as_ref(), resource));
    own.or_else(|| pod_total(pod, resource, view::limit, true))
}

/// The pod's own cgroup.
pub fn pod(pod: &Pod, pids_limit: i64) -> Resources {
    let cpu = pod_limit(pod, "cpu").map_or(0, |q| q.milli_value());
    let request = pod_request(pod, "cpu").milli_value();
    Resources {
        cpu_shares: shares(if request == 0 { cpu } else { request }),
        cpu_quota: quota(cpu),
        cpu_period: PERIOD,
        memory_limit: pod_limit(pod, "memory").map_or(0, |q| q.value()),
        pids_limit,
        ..Resources::default()
    }
}

/// `/kubepods/burstable/pod<uid>`; guaranteed pods stand right under the root.
pub fn parent(pod: &Pod, root: &str) -> String {
    let uid = view::uid(pod);
    match qos::of(pod) {
        Qos::Guaranteed => format!("{root}/pod{uid}"),
        Qos::Burstable => format!("{root}/burstable/pod{uid}"),
        Qos::BestEffort => format!("{root}/besteffort/pod{uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod as make;
    #[test]
    fn values() {
        let p = make(
            r#"{"containers":[{"name":"a","resources":{"requests":{"cpu":"250m","memory":"1Gi"},"limits":{"cpu":"500m","memory":"2Gi","hugepages-2Mi":"4Mi"}}}]}"#,
        );
        let r = container(&p, &view::containers(&p)[0], 8 << 30);
        assert_eq!((r.cpu_shares, r.cpu_quota, r.memory_limit, r.oom_score_adj), (256, 50_000, 2 << 30, 875));
        assert_eq!(r.hugepages[0].page_size, "2MB");
        assert_eq!(parent(&p, "/kubepods"), "/kubepods/burstable/podu1");
        let best = make(r#"{"containers":[{"name":"a"}]}"#);
        let r = container(&best, &view::containers(&best)[0], 8 << 30);
        assert_eq!((r.cpu_shares, r.cpu_quota, r.oom_score_adj), (2, 0, 1000));
    }
    #[test]
    fn pods_add_up_sidecars_and_peak_at_init() {
        let p = make(
            r#"{"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},{"name":"i","resources":{"requests":{"cpu":"2"}}}],
               "containers":[{"name":"a","resources":{"requests":{"cpu":"300m"}}},{"name":"b"}]}"#,
        );
        assert_eq!(pod_request(&p, "cpu").milli_value(), 2100);
        assert_eq!(pod_limit(&p, "cpu"), None);
    }
}
