//! The decision for one autoscaler, pure.
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition as Condition, HorizontalPodAutoscalerStatus, MetricStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// What is to be done before any metric is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Aim {
    /// People set the target to zero: it stays there.
    Leave,
    Set {
        replicas: i32,
        why: &'static str,
    },
    Measure,
}

pub(crate) fn aim(hpa: &HorizontalPodAutoscaler, current: i32) -> Aim {
    let (min, max) = (min_replicas(hpa), hpa.spec.max_replicas);
    if current == 0 {
        let by_us = scaled_to_zero(hpa);
        return if by_us && (min != 0 || counts_without_pods(hpa)) { Aim::Measure } else { Aim::Leave };
    }
    if current > max {
        return Aim::Set { replicas: max, why: "Current number of replicas above Spec.MaxReplicas" };
    }
    if current < min {
        return Aim::Set { replicas: min, why: "Current number of replicas below Spec.MinReplicas" };
    }
    Aim::Measure
}

pub(crate) fn min_replicas(hpa: &HorizontalPodAutoscaler) -> i32 {
    hpa.spec.min_replicas.unwrap_or(1)
}

/// Whether it was an autoscaler that took the last pod away (KEP-2021).
pub(crate) fn scaled_to_zero(hpa: &HorizontalPodAutoscaler) -> bool {
    hpa.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "ScaledToZero" && c.status == "True")
}

/// Whether a metric says something while no pod is there.
pub(crate) fn counts_without_pods(hpa: &HorizontalPodAutoscaler) -> bool {
    hpa.spec.metrics.iter().flatten().any(|m| matches!(m.type_.as_str(), "Object" | "External"))
}

/// What a metric asks for.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub replicas: i32,
    pub name: String,
    pub status: MetricStatus,
}

/// Why a metric says nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Silent {
    /// Of the event and the condition.
    pub reason: &'static str,
    /// What they say.
    pub cause: String,
    /// The same for the sum of all metrics.
    pub error: String,
}

/// The largest proposal, or the first failure when too little is known to act on.
pub(crate) enum Verdict<'a> {
    Scale { replicas: i32, name: &'a str, error: Option<String> },
    Unknown { first: &'a Silent, error: String },
}

pub(crate) fn verdict(all: &[Result<Proposal, Silent>], current: i32) -> Verdict<'_> {
    let silent: Vec<&Silent> = all.iter().filter_map(|r| r.as_ref().err()).collect();
    let error = silent.first().map(|s| format!("invalid metrics ({} invalid out of {}), first error is: {}", silent.len(), all.len(), s.error));
    // The first of equals names the reason.
    let best = all.iter().filter_map(|r| r.as_ref().ok()).reduce(|a, b| if b.replicas > a.replicas { b } else { a });
    match (silent.first(), error, best) {
        (Some(first), Some(error), best) if best.is_none_or(|b| b.replicas < current) => Verdict::Unknown { first, error },
        (_, error, best) => Verdict::Scale { replicas: best.map_or(0, |b| b.replicas), name: best.map_or("", |b| &b.name), error },
    }
}

/// The status in the making.
pub(crate) struct Draft {
    pub status: HorizontalPodAutoscalerStatus,
    now: Time,
}

impl Draft {
    pub fn of(hpa: &HorizontalPodAutoscaler, now: i64) -> Self {
        let now = Time(Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH));
        Self { status: hpa.status.clone().unwrap_or_default(), now }
    }
    /// The time of a condition moves only when its status does.
    pub fn say(&mut self, kind: &str, status: &str, reason: &str, message: impl Into<String>) {
        let all = self.status.conditions.get_or_insert_default();
        let at = all.iter().position(|c| c.type_ == kind).unwrap_or_else(|| {
            all.push(Condition { type_: kind.into(), ..Condition::default() });
            all.len() - 1
        });
        if let Some(c) = all.get_mut(at) {
            if c.status != status {
                c.last_transition_time = Some(self.now.clone());
            }
            c.status = status.into();
            c.reason = Some(reason.into());
            c.message = Some(message.into());
        }
    }
    pub fn counts(&mut self, hpa: &HorizontalPodAutoscaler, current: i32, desired: Option<i32>, metrics: Vec<MetricStatus>) {
        self.status.current_replicas = Some(current).filter(|n| *n != 0);
        if let Some(n) = desired {
            self.status.desired_replicas = n;
        }
        self.status.current_metrics = Some(metrics).filter(|m| !m.is_empty());
        self.status.observed_generation = hpa.metadata.generation;
    }
    pub fn scaled_now(&mut self) {
        self.status.last_scale_time = Some(self.now.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn hpa(min: i32, zero: bool) -> HorizontalPodAutoscaler {
        let conditions = if zero { json!([{"type": "ScaledToZero", "status": "True"}]) } else { json!([]) };
        let v = json!({"metadata": {}, "spec": {"minReplicas": min, "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "metrics": [{"type": "External"}]},
            "status": {"desiredReplicas": 0, "conditions": conditions}});
        skiff_json::from_value(v).unwrap()
    }
    fn ok(replicas: i32, name: &str) -> Result<Proposal, Silent> {
        Ok(Proposal { replicas, name: name.into(), status: MetricStatus::default() })
    }
    fn silent() -> Result<Proposal, Silent> {
        Err(Silent { reason: "FailedGetResourceMetric", cause: "x".into(), error: "y".into() })
    }

    #[test]
    fn aims() {
        assert_eq!(aim(&hpa(1, false), 0), Aim::Leave);
        assert_eq!(aim(&hpa(1, true), 0), Aim::Measure);
        assert!(matches!(aim(&hpa(1, false), 9), Aim::Set { replicas: 5, .. }));
        assert!(matches!(aim(&hpa(2, false), 1), Aim::Set { replicas: 2, .. }));
        assert_eq!(aim(&hpa(2, false), 3), Aim::Measure);
    }

    #[test]
    fn verdicts() {
        let show = |all: &[Result<Proposal, Silent>], current| match verdict(all, current) {
            Verdict::Scale { replicas, name, error } => format!("{replicas} {name} {}", error.unwrap_or_default()),
            Verdict::Unknown { error, .. } => error,
        };
        assert_eq!(show(&[ok(2, "a"), ok(3, "b"), ok(3, "c")], 1), "3 b ");
        assert_eq!(show(&[silent()], 1), "invalid metrics (1 invalid out of 1), first error is: y");
        // With part of the metrics it grows but does not shrink.
        assert_eq!(show(&[silent(), ok(1, "a")], 2), "invalid metrics (1 invalid out of 2), first error is: y");
        assert_eq!(show(&[silent(), ok(3, "a")], 2), "3 a invalid metrics (1 invalid out of 2), first error is: y");
    }
}
