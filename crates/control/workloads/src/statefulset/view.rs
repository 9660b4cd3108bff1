//! A StatefulSet as the plan sees it.
use crate::view::{Condition, IntOrPercent, Meta, OwnerRef, Selector, View, is_zero};
use serde::{Deserialize, Serialize};
use skiff_json::Value;

pub type StatefulSet = View<StatefulSetSpec, StatefulSetStatus>;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSpec {
    pub replicas: i64,
    pub selector: Selector,
    pub template: Value,
    pub volume_claim_templates: Vec<Value>,
    pub service_name: String,
    pub pod_management_policy: String,
    pub update_strategy: UpdateStrategy,
    pub revision_history_limit: i64,
    pub min_ready_seconds: i64,
    pub persistent_volume_claim_retention_policy: Retention,
    pub ordinals: Ordinals,
}
impl Default for StatefulSetSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            selector: Selector::default(),
            template: Value::Null,
            volume_claim_templates: vec![],
            service_name: String::new(),
            pod_management_policy: String::new(),
            update_strategy: UpdateStrategy::default(),
            revision_history_limit: 10,
            min_ready_seconds: 0,
            persistent_volume_claim_retention_policy: Retention::default(),
            ordinals: Ordinals::default(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    #[serde(rename = "type")]
    pub kind: String,
    pub rolling_update: Option<RollingUpdate>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    pub partition: i64,
    pub max_unavailable: Option<IntOrPercent>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ordinals {
    pub start: i64,
}
/// `Retain` or `Delete`; empty is Retain.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    pub when_deleted: String,
    pub when_scaled: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetStatus {
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    pub replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub ready_replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub current_replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub updated_replicas: i64,
    pub current_revision: String,
    pub update_revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    pub available_replicas: i64,
}

impl StatefulSetSpec {
    pub fn parallel(&self) -> bool {
        self.pod_management_policy == "Parallel"
    }
    /// Of pods that an update may take away at once: at least one.
    pub fn max_unavailable(&self) -> i64 {
        let given = self.update_strategy.rolling_update.as_ref().and_then(|r| r.max_unavailable.clone());
        given.map_or(1, |m| m.of(self.replicas, false)).max(1)
    }
    pub fn partition(&self) -> i64 {
        self.update_strategy.rolling_update.as_ref().map_or(0, |r| r.partition)
    }
    pub fn in_range(&self, ordinal: i64) -> bool {
        (self.ordinals.start..self.ordinals.start + self.replicas).contains(&ordinal)
    }
}

/// The claims that a pod of the set mounts: (volume's name, claim's name).
pub fn claim_names(set: &StatefulSet, ordinal: i64) -> Vec<(String, String)> {
    let templates = set.spec.volume_claim_templates.iter().filter_map(|t| t["metadata"]["name"].as_str());
    templates.map(|t| (t.to_owned(), format!("{t}-{}-{ordinal}", set.metadata.name))).collect()
}

/// A claim's owners that have to do with a set or one of its pods.
pub(super) fn refers(r: &OwnerRef, api_version: &str, kind: &str, to: &Meta) -> bool {
    r.api_version == api_version && r.kind == kind && r.name == to.name
}
