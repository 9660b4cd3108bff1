//! A Job as the plan sees it.
use crate::{
    pod::Pod,
    view::{Condition, Selector, Time, View, condition, is_zero},
};
use serde::{Deserialize, Serialize};
use skiff_json::Value;

pub type Job = View<JobSpec, JobStatus>;

pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
pub const MANAGER: &str = "kubernetes.io/job-controller";

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    pub parallelism: i64,
    pub completions: Option<i64>,
    pub completion_mode: String,
    pub backoff_limit: i64,
    pub backoff_limit_per_index: Option<i64>,
    pub max_failed_indexes: Option<i64>,
    pub active_deadline_seconds: Option<i64>,
    pub ttl_seconds_after_finished: Option<i64>,
    pub suspend: bool,
    pub selector: Selector,
    pub template: Value,
    pub pod_failure_policy: Option<FailurePolicy>,
    pub success_policy: Option<SuccessPolicy>,
    pub pod_replacement_policy: String,
    pub managed_by: Option<String>,
}
impl Default for JobSpec {
    fn default() -> Self {
        Self {
            parallelism: 1,
            completions: None,
            completion_mode: String::new(),
            backoff_limit: 6,
            backoff_limit_per_index: None,
            max_failed_indexes: None,
            active_deadline_seconds: None,
            ttl_seconds_after_finished: None,
            suspend: false,
            selector: Selector::default(),
            template: Value::Null,
            pod_failure_policy: None,
            success_policy: None,
            pod_replacement_policy: String::new(),
            managed_by: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailurePolicy {
    pub rules: Vec<FailureRule>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailureRule {
    pub action: String,
    pub on_exit_codes: Option<OnExitCodes>,
    pub on_pod_conditions: Vec<OnCondition>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OnExitCodes {
    pub container_name: Option<String>,
    pub operator: String,
    pub values: Vec<i64>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OnCondition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessPolicy {
    pub rules: Vec<SuccessRule>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessRule {
    pub succeeded_indexes: Option<String>,
    pub succeeded_count: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    #[serde(skip_serializing_if = "is_zero")]
    pub active: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub succeeded: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub completed_indexes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_indexes: Option<String>,
    pub uncounted_terminated_pods: Option<Uncounted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<i64>,
}
/// Uids of pods that are over and not part of the counts yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Uncounted {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub succeeded: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

impl JobSpec {
    pub fn indexed(&self) -> bool {
        self.completion_mode == "Indexed"
    }
    /// Replaces a pod only once it is over, not while it is on its way out.
    pub fn replaces_failed_only(&self) -> bool {
        self.pod_replacement_policy == "Failed"
    }
    /// Of an indexed job; 0 without.
    pub fn size(&self) -> i64 {
        self.completions.unwrap_or(0)
    }
}

/// The Complete or Failed condition, once it is true.
pub fn over(status: &JobStatus) -> Option<&Condition> {
    ["Complete", "Failed"].iter().find_map(|k| condition(&status.conditions, k).filter(|c| c.status == "True"))
}

pub fn tracked(p: &Pod) -> bool {
    p.metadata.finalizers.iter().any(|f| f == FINALIZER)
}
/// The index that an indexed job's pod works on.
pub fn index(p: &Pod) -> Option<i64> {
    p.metadata.annotation(INDEX)?.parse::<i64>().ok().filter(|i| *i >= 0)
}
fn count(p: &Pod, annotation: &str) -> i64 {
    p.metadata.annotation(annotation).and_then(|v| v.parse::<u32>().ok()).map_or(0, i64::from)
}
/// Failures of its index before this pod that count towards backoffLimitPerIndex.
pub fn failures(p: &Pod) -> i64 {
    count(p, FAILURES)
}
pub fn ignored(p: &Pod) -> i64 {
    count(p, IGNORED)
}
/// Over with a failure; on its way out counts as well, unless only failed pods are replaced.
pub fn failed(spec: &JobSpec, p: &Pod) -> bool {
    p.failed() || (!spec.replaces_failed_only() && p.metadata.deleting() && !p.succeeded())
}
