//! A DaemonSet and nodes as the plan sees them.
use crate::view::{Condition, IntOrPercent, Selector, View, is_zero};
use serde::{Deserialize, Serialize};
use skiff_json::Value;

pub type DaemonSet = View<DaemonSetSpec, DaemonSetStatus>;
pub type Node = View<NodeSpec, Value>;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetSpec {
    pub selector: Selector,
    pub template: Value,
    pub update_strategy: UpdateStrategy,
    pub min_ready_seconds: i64,
    pub revision_history_limit: i64,
}
impl Default for DaemonSetSpec {
    fn default() -> Self {
        Self {
            selector: Selector::default(),
            template: Value::Null,
            update_strategy: UpdateStrategy::default(),
            min_ready_seconds: 0,
            revision_history_limit: 10,
        }
    }
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    #[serde(rename = "type")]
    pub kind: String,
    pub rolling_update: RollingUpdate,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    pub max_unavailable: Option<IntOrPercent>,
    pub max_surge: Option<IntOrPercent>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    pub current_number_scheduled: i64,
    pub number_misscheduled: i64,
    pub desired_number_scheduled: i64,
    pub number_ready: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub updated_number_scheduled: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub number_available: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub number_unavailable: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl DaemonSetSpec {
    /// maxSurge and maxUnavailable of `desired` nodes; not both are zero.
    pub fn fences(&self, desired: i64) -> (i64, i64) {
        let r = &self.update_strategy.rolling_update;
        let surge = r.max_surge.as_ref().map_or(0, |v| v.of(desired, true));
        let unavailable = r.max_unavailable.as_ref().map_or(1, |v| v.of(desired, true));
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }
    /// Whether two pods may be on a node during an update.
    pub fn surges(&self) -> bool {
        self.update_strategy.kind != "OnDelete" && self.fences(1).0 > 0
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}
