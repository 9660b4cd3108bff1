//! Probes without their transport: which kinds there are, how results count against thresholds.
//!
//! ```text
//!   new container ──▶ Probing ──result──▶ Probing (verdict changes at a threshold)
//!                        │ liveness failed, or startup decided
//!                        ▼
//!                      OnHold ──new container──▶ Probing
//! ```
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes>
use k8s_openapi::api::core::v1::{Container, Probe};
use skiff_cri::ContainerId;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
    /// As events write it.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }
    pub fn of(self, c: &Container) -> Option<&Probe> {
        match self {
            ProbeKind::Startup => c.startup_probe.as_ref(),
            ProbeKind::Liveness => c.liveness_probe.as_ref(),
            ProbeKind::Readiness => c.readiness_probe.as_ref(),
        }
    }
    /// What holds before the first result.
    pub fn initial(self) -> Verdict {
        match self {
            ProbeKind::Startup => Verdict::Unknown,
            ProbeKind::Liveness => Verdict::Success,
            ProbeKind::Readiness => Verdict::Failure,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Unknown,
    Success,
    Failure,
}

/// The verdict of each container's probes.
#[derive(Clone, Debug, Default)]
pub struct ProbeResults(BTreeMap<(ContainerId, ProbeKind), Verdict>);

impl ProbeResults {
    pub fn get(&self, id: &ContainerId, kind: ProbeKind) -> Option<Verdict> {
        self.0.get(&(id.clone(), kind)).copied()
    }
    /// True when that changed anything.
    pub fn set(&mut self, id: &ContainerId, kind: ProbeKind, verdict: Verdict) -> bool {
        self.0.insert((id.clone(), kind), verdict) != Some(verdict)
    }
    /// Forgets containers that are gone.
    pub fn retain(&mut self, keep: impl Fn(&ContainerId) -> bool) {
        self.0.retain(|(id, _), _| keep(id));
    }
}

/// Counts results of one probe of one container.
#[derive(Clone, Debug)]
pub struct Counter {
    kind: ProbeKind,
    failure_threshold: u32,
    success_threshold: u32,
    last: Option<bool>,
    run: u32,
    on_hold: bool,
}

impl Counter {
    pub fn new(kind: ProbeKind, probe: &Probe) -> Self {
        let at_least_one = |n: Option<i32>, default: u32| n.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(default);
        Self {
            kind,
            failure_threshold: at_least_one(probe.failure_threshold, 3),
            success_threshold: at_least_one(probe.success_threshold, 1),
            last: None,
            run: 0,
            on_hold: false,
        }
    }
    /// No probing until the container is another one.
    pub fn on_hold(&self) -> bool {
        self.on_hold
    }
    /// One more result; the new verdict when a threshold is reached.
    pub fn record(&mut self, success: bool) -> Option<Verdict> {
        self.run = if self.last == Some(success) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(success);
        if self.run < if success { self.success_threshold } else { self.failure_threshold } {
            return None;
        }
        if self.kind == ProbeKind::Startup || (self.kind == ProbeKind::Liveness && !success) {
            self.on_hold = true;
            self.run = 0;
        }
        Some(if success { Verdict::Success } else { Verdict::Failure })
    }
}

/// An HTTP answer counts from 200 up to, not with, 400.
pub fn http_success(code: u16) -> bool {
    (200..400).contains(&code)
}

/// The grace period of a container killed by this probe: the probe's own, otherwise the pod's.
pub fn grace_of(probe: Option<&Probe>, pod_grace: i64) -> i64 {
    probe.and_then(|p| p.termination_grace_period_seconds).unwrap_or(pod_grace)
}

#[cfg(test)]
mod tests {
    use super::*;
    fn counter(kind: ProbeKind) -> Counter {
        Counter::new(kind, &Probe { failure_threshold: Some(3), success_threshold: Some(1), ..Default::default() })
    }
    #[test]
    fn liveness_fails_at_the_third_failure_in_a_row_and_then_holds() {
        let mut c = counter(ProbeKind::Liveness);
        assert_eq!([c.record(false), c.record(false), c.record(true), c.record(false), c.record(false)], [None, None, Some(Verdict::Success), None, None]);
        assert!(!c.on_hold());
        assert_eq!(c.record(false), Some(Verdict::Failure));
        assert!(c.on_hold());
    }
    #[test]
    fn startup_holds_after_success_too_and_readiness_never() {
        let mut s = counter(ProbeKind::Startup);
        assert_eq!(s.record(true), Some(Verdict::Success));
        assert!(s.on_hold());
        let mut r = counter(ProbeKind::Readiness);
        for _ in 0..5 {
            r.record(false);
        }
        assert!(!r.on_hold());
    }
    #[test]
    fn http_codes() {
        assert!(http_success(200) && http_success(302) && !http_success(404) && !http_success(199));
    }
}
