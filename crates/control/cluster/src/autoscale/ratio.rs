//! How many replicas a metric asks for, pure. Amounts are in thousandths of the metric's unit.
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use skiff_meta::Quantity;
use std::collections::BTreeMap;

/// CPU samples of a pod that started less than this ago count only when it is ready, in seconds.
const CPU_INITIALIZATION: i64 = 300;
/// A pod that became unready within this after its start was never ready, in seconds.
const INITIAL_READINESS: i64 = 30;

/// What one pod used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub value: i64,
    /// Seconds since 1970.
    pub at: i64,
    /// How long it was measured, in seconds.
    pub window: i64,
}
pub(crate) type Samples = BTreeMap<String, Sample>;

/// How far the ratio of use and target may lie from one before anything happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    pub down: f64,
    pub up: f64,
}

impl Tolerance {
    fn holds(&self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What a metric asks for, and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Count {
    pub replicas: i32,
    /// The average or the sum.
    pub usage: i64,
    /// Percent of the requests.
    pub utilization: Option<i32>,
}

/// The pods that the target's selector finds, and what it has now.
pub(crate) struct World<'a> {
    pub pods: &'a [Pod],
    pub current: i32,
    pub tolerance: Tolerance,
    /// Seconds since 1970.
    pub now: i64,
}

/// What a pod's sample is compared with.
pub(crate) enum Target<'a> {
    /// So many percent of the requests of each pod.
    Utilization {
        percent: i32,
        requests: &'a BTreeMap<String, i64>,
    },
    Average(i64),
}

struct Measured {
    ratio: f64,
    usage: i64,
    utilization: Option<i32>,
}

impl Target<'_> {
    fn measure(&self, samples: &Samples) -> Result<Measured, String> {
        match self {
            Target::Average(target) => {
                let total: i64 = samples.values().fold(0, |t, s| t.saturating_add(s.value));
                let usage = total / (samples.len().max(1) as i64);
                Ok(Measured { ratio: usage as f64 / *target as f64, usage, utilization: None })
            }
            Target::Utilization { percent, requests } => {
                let known: Vec<(i64, i64)> = samples.iter().filter_map(|(pod, s)| Some((s.value, *requests.get(pod)?))).collect();
                let (used, asked) = known.iter().fold((0i64, 0i64), |(u, a), (v, r)| (u.saturating_add(*v), a.saturating_add(*r)));
                if asked == 0 {
                    return Err("no metrics returned matched known pods".into());
                }
                let utilization = (used.saturating_mul(100) / asked) as i32;
                Ok(Measured { ratio: f64::from(utilization) / f64::from(*percent), usage: used / known.len() as i64, utilization: Some(utilization) })
            }
        }
    }
    /// What a pod without a sample is taken to use when that would shrink the target.
    fn fallback(&self, pod: &str) -> i64 {
        match self {
            Target::Average(target) => *target,
            Target::Utilization { percent, requests } => requests.get(pod).copied().unwrap_or(0) * i64::from((*percent).max(100)) / 100,
        }
    }
}

#[derive(Default)]
struct Groups<'a> {
    ready: usize,
    unready: Vec<&'a str>,
    missing: Vec<&'a str>,
    ignored: Vec<&'a str>,
}

/// From samples of each pod. Pods that are not ready or have no sample never make it larger than it would be with them
/// idle, nor smaller than with them at the target. `cpu`: young pods count only when they are ready.
pub(crate) fn of_pods(w: &World<'_>, mut samples: Samples, target: &Target<'_>, cpu: bool) -> Result<Count, String> {
    if w.pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let groups = group(w, &samples, cpu);
    groups.ignored.iter().chain(&groups.unready).for_each(|p| {
        samples.remove(*p);
    });
    if samples.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let Measured { ratio, usage, utilization } = target.measure(&samples)?;
    let count = |replicas| Count { replicas, usage, utilization };
    let up_with_unready = !groups.unready.is_empty() && ratio > 1.0;
    if !up_with_unready && groups.missing.is_empty() {
        return Ok(count(if w.tolerance.holds(ratio) { w.current } else { ceil(ratio * groups.ready as f64) }));
    }
    for pod in &groups.missing {
        if ratio != 1.0 {
            let value = if ratio < 1.0 { target.fallback(pod) } else { 0 };
            samples.insert((*pod).to_owned(), Sample { value, ..Sample::default() });
        }
    }
    if up_with_unready {
        samples.extend(groups.unready.iter().map(|p| ((*p).to_owned(), Sample::default())));
    }
    let again = target.measure(&samples)?.ratio;
    let turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    let wanted = ceil(again * samples.len() as f64);
    let backwards = (again < 1.0 && wanted > w.current) || (again > 1.0 && wanted < w.current);
    Ok(count(if turned || backwards || w.tolerance.holds(again) { w.current } else { wanted }))
}

fn group<'a>(w: &World<'a>, samples: &Samples, cpu: bool) -> Groups<'a> {
    let mut g = Groups::default();
    for pod in w.pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() || phase == "Failed" {
            g.ignored.push(name);
        } else if phase == "Pending" {
            g.unready.push(name);
        } else if let Some(sample) = samples.get(name) {
            if cpu && too_young(pod, sample, w.now) { g.unready.push(name) } else { g.ready += 1 }
        } else {
            g.missing.push(name);
        }
    }
    g
}

fn too_young(pod: &Pod, sample: &Sample, now: i64) -> bool {
    let ready = ready_condition(pod);
    let started = pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0.as_second());
    let (Some(ready), Some(started)) = (ready, started) else { return true };
    let since = ready.last_transition_time.as_ref().map_or(0, |t| t.0.as_second());
    let unready = ready.status == "False";
    if started + CPU_INITIALIZATION > now { unready || sample.at < since + sample.window } else { unready && started + INITIAL_READINESS > since }
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == "Ready")
}

/// From one number for the whole target.
pub(crate) fn of_value(w: &World<'_>, usage: i64, target: i64) -> Result<Count, String> {
    let ratio = usage as f64 / target as f64;
    let count = |replicas| Count { replicas, usage, utilization: None };
    if w.current == 0 {
        return Ok(count(ceil(ratio)));
    }
    if w.tolerance.holds(ratio) {
        return Ok(count(w.current));
    }
    if w.pods.is_empty() {
        return Err("unable to calculate ready pods: no pods returned by selector while calculating replica count".into());
    }
    let ready = w
        .pods
        .iter()
        .filter(|p| ready_condition(p).is_some_and(|c| c.status == "True") && p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running"))
        .count();
    Ok(count(ceil(ratio * ready as f64)))
}

/// From one number that is shared by all pods; `there` is how many there are.
pub(crate) fn of_average(tolerance: Tolerance, usage: i64, target: i64, there: i32) -> Count {
    let ratio = usage as f64 / (target as f64 * f64::from(there));
    let replicas = if tolerance.holds(ratio) { there } else { ceil(usage as f64 / target as f64) };
    Count { replicas, usage: (usage as f64 / f64::from(there)).ceil() as i64, utilization: None }
}

/// Rounded up; what does not fit is the largest number.
fn ceil(x: f64) -> i32 {
    x.ceil() as i32
}

/// What each pod asks of a resource, or of it in one container.
pub(crate) fn requests(pods: &[Pod], resource: &str, container: &str) -> Result<BTreeMap<String, i64>, String> {
    pods.iter().map(|p| Ok((p.metadata.name.clone().unwrap_or_default(), request(p, resource, container)?))).collect()
}

fn request(pod: &Pod, resource: &str, container: &str) -> Result<i64, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let milli = |r: Option<&k8s_openapi::api::core::v1::ResourceRequirements>| {
        let q = r.and_then(|r| r.requests.as_ref()).and_then(|r| r.get(resource))?;
        q.0.parse::<Quantity>().ok().map(|q| q.milli_value())
    };
    let Some(spec) = pod.spec.as_ref() else { return Ok(0) };
    let own = spec.resources.as_ref().filter(|r| r.requests.as_ref().is_some_and(|m| !m.is_empty()));
    if container.is_empty() && own.is_some() && milli(own).is_some() {
        return milli(own).ok_or_else(|| format!("missing pod-level request for {resource} in Pod {name}"));
    }
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut total = 0;
    let mut found = false;
    for c in spec.containers.iter().chain(sidecars).filter(|c| container.is_empty() || c.name == container) {
        total += milli(c.resources.as_ref()).ok_or_else(|| format!("missing request for {resource} in container {} of Pod {name}", c.name))?;
        found = true;
    }
    if found || container.is_empty() { Ok(total) } else { Err(format!("container {container} not found in Pod {name}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    const NOW: i64 = 10_000;

    fn pod(name: &str, phase: &str, ready: bool, started: i64) -> Pod {
        let at = |s: i64| skiff_meta::Timestamp(s).to_string();
        skiff_json::from_value(json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": phase, "startTime": at(started), "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": at(started)}]}}))
        .unwrap()
    }
    fn run(pods: &[Pod], current: i32, samples: &[(&str, i64)], percent: i32) -> Result<Count, String> {
        let w = World { pods, current, tolerance: Tolerance { down: 0.1, up: 0.1 }, now: NOW };
        let requests = requests(pods, "cpu", "")?;
        let samples = samples.iter().map(|(n, value)| ((*n).to_owned(), Sample { value: *value, at: NOW, window: 30 })).collect();
        of_pods(&w, samples, &Target::Utilization { percent, requests: &requests }, true)
    }

    #[test]
    fn utilization() {
        let old = |n: &str| pod(n, "Running", true, 0);
        let three = [old("a"), old("b"), old("c")];
        for (samples, percent, replicas, utilization) in [
            (vec![("a", 300), ("b", 500), ("c", 700)], 30, 5, 50),
            (vec![("a", 300), ("b", 300), ("c", 330)], 30, 3, 31),
            (vec![("a", 100), ("b", 100), ("c", 100)], 50, 1, 10),
            // A pod without a sample holds a shrink back.
            (vec![("a", 100), ("b", 100)], 50, 3, 10),
            // And a growth, as if it were idle.
            (vec![("a", 1000), ("b", 1000)], 50, 4, 100),
        ] {
            let c = run(&three, 3, &samples, percent).unwrap();
            assert_eq!((c.replicas, c.utilization), (replicas, Some(utilization)), "{samples:?}");
        }
        assert_eq!(run(&[], 1, &[], 50).unwrap_err(), "no pods returned by selector while calculating replica count");
        assert_eq!(run(&three, 3, &[("x", 1)], 50).unwrap_err(), "no metrics returned matched known pods");
    }

    #[test]
    fn young_and_leaving_pods() {
        let pods = [pod("a", "Running", true, 0), pod("young", "Running", false, NOW - 10), pod("p", "Pending", false, NOW)];
        let c = run(&pods, 3, &[("a", 1000), ("young", 1000)], 50).unwrap();
        // Twice the target in one of three pods: the others count as idle, which turns the direction.
        assert_eq!((c.replicas, c.utilization), (3, Some(100)));
        let never_ready = [pod("a", "Running", false, 0)];
        assert_eq!(run(&never_ready, 1, &[("a", 1000)], 50).unwrap_err(), "did not receive metrics for targeted pods (pods might be unready)");
    }

    #[test]
    fn one_number() {
        let pods = [pod("a", "Running", true, 0), pod("b", "Running", true, 0)];
        let tolerance = Tolerance { down: 0.1, up: 0.1 };
        let w = |current| World { pods: &pods, current, tolerance, now: NOW };
        assert_eq!(of_value(&w(2), 30_000, 10_000).unwrap().replicas, 6);
        assert_eq!(of_value(&w(2), 10_500, 10_000).unwrap().replicas, 2);
        assert_eq!(of_value(&w(0), 25_000, 10_000).unwrap().replicas, 3);
        assert_eq!(of_average(tolerance, 90_000, 10_000, 3), Count { replicas: 9, usage: 30_000, utilization: None });
    }

    #[test]
    fn what_pods_ask_for() {
        let none: Pod = skiff_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}})).unwrap();
        assert_eq!(requests(&[none.clone()], "cpu", "").unwrap_err(), "missing request for cpu in container c of Pod p");
        assert_eq!(requests(&[none], "cpu", "x").unwrap_err(), "container x not found in Pod p");
        let whole: Pod =
            skiff_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"resources": {"requests": {"cpu": "2"}}, "containers": [{"name": "c"}]}}))
                .unwrap();
        assert_eq!(requests(&[whole], "cpu", "").unwrap()["p"], 2000);
    }
}
