//! A Deployment and its ReplicaSets as a plan sees them.
use crate::{
    replicaset::ReplicaSet,
    view::{Condition, IntOrPercent, Selector, View, is_zero},
};
use serde::{Deserialize, Serialize};
use skiff_json::Value;

pub type Deployment = View<DeploymentSpec, DeploymentStatus>;

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    pub replicas: i64,
    pub selector: Selector,
    pub template: Value,
    pub strategy: Strategy,
    pub min_ready_seconds: i64,
    pub revision_history_limit: Option<i64>,
    pub paused: bool,
    pub progress_deadline_seconds: Option<i64>,
}
impl Default for DeploymentSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            selector: Selector::default(),
            template: Value::Null,
            strategy: Strategy::default(),
            min_ready_seconds: 0,
            revision_history_limit: None,
            paused: false,
            progress_deadline_seconds: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    #[serde(rename = "type")]
    pub kind: String,
    pub rolling_update: Option<RollingUpdate>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    pub max_unavailable: Option<IntOrPercent>,
    pub max_surge: Option<IntOrPercent>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub updated_replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub ready_replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub available_replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub unavailable_replicas: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating_replicas: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i64>,
}

impl DeploymentSpec {
    pub fn rolling(&self) -> bool {
        self.strategy.kind != "Recreate"
    }
    /// maxSurge and maxUnavailable in pods; both zero would stop everything, so one may then be missing.
    fn fences(&self) -> (i64, i64) {
        let r = self.strategy.rolling_update.clone().unwrap_or_default();
        let of = |v: Option<IntOrPercent>, up| v.map_or(0, |v| v.of(self.replicas, up));
        match (of(r.max_surge, true), of(r.max_unavailable, false)) {
            (0, 0) => (0, 1),
            fences => fences,
        }
    }
    pub fn max_surge(&self) -> i64 {
        if self.rolling() { self.fences().0 } else { 0 }
    }
    pub fn max_unavailable(&self) -> i64 {
        if self.rolling() && self.replicas > 0 { self.fences().1.min(self.replicas) } else { 0 }
    }
    /// None, or the largest number, means no deadline.
    pub fn deadline(&self) -> Option<i64> {
        self.progress_deadline_seconds.filter(|s| *s != i64::from(i32::MAX))
    }
    pub fn history(&self) -> Option<usize> {
        self.revision_history_limit.filter(|n| *n != i64::from(i32::MAX)).and_then(|n| usize::try_from(n).ok())
    }
}

/// A ReplicaSet, and how large the plan makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    pub rs: ReplicaSet,
    /// What `spec.replicas` is to be.
    pub size: i64,
}

impl Set {
    pub fn new(rs: ReplicaSet) -> Self {
        let size = rs.spec.replicas;
        Self { rs, size }
    }
    pub fn name(&self) -> &str {
        &self.rs.metadata.name
    }
    /// Of a rollout; 0 when it has none, None when it is no number.
    pub fn revision(&self) -> Option<i64> {
        self.rs.metadata.annotation(REVISION).map_or(Some(0), |r| r.parse().ok())
    }
    pub fn desired(&self) -> Option<i64> {
        self.count(DESIRED)
    }
    pub fn max(&self) -> Option<i64> {
        self.count(MAX)
    }
    fn count(&self, annotation: &str) -> Option<i64> {
        self.rs.metadata.annotation(annotation)?.parse::<u32>().ok().map(i64::from)
    }
    /// By age, then by name.
    pub fn age(&self) -> (Option<crate::view::Time>, &str) {
        (self.rs.metadata.creation_timestamp, self.name())
    }
    pub fn runs(&self, template: &Value) -> bool {
        without_hash(&self.rs.spec.template) == without_hash(template)
    }
}

/// A template as its author wrote it.
pub fn without_hash(template: &Value) -> Value {
    let mut t = template.clone();
    if let Some(labels) = t.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(HASH_LABEL);
    }
    if let Some(meta) = t.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.retain(|k, v| k != "creationTimestamp" && !v.as_object().is_some_and(skiff_json::Map::is_empty) && !v.is_null());
    }
    t
}
