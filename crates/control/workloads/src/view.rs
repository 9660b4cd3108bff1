//! Views of the kinds that workload controllers read: the few fields they decide by, read out of canonical bytes.
//!
//! A view is never written back: writes edit the object's own JSON, so that a field this crate does not know is kept.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use skiff_controller::Regarding;
use skiff_informer::{Row, key_of};
use skiff_json::Value;
use skiff_meta::{LabelSelector, Status, Timestamp};
use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// Seconds since 1970, in JSON an RFC 3339 string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&Timestamp(self.0))
    }
}
impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = String::deserialize(d)?;
        s.parse::<Timestamp>().map(|t| Time(t.0)).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerRef {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub labels: Labels,
    pub annotations: Labels,
    pub owner_references: Vec<OwnerRef>,
    pub finalizers: Vec<String>,
    pub creation_timestamp: Option<Time>,
    pub deletion_timestamp: Option<Time>,
    pub deletion_grace_period_seconds: Option<i64>,
}

impl Meta {
    pub fn key(&self) -> String {
        key_of(&self.namespace, &self.name)
    }
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.owner_references.iter().find(|o| o.controller == Some(true))
    }
    pub fn controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|o| o.uid == uid)
    }
    pub fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
    /// As events name it.
    pub fn regarding(&self, api_version: &str, kind: &str) -> Regarding {
        Regarding {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            field_path: String::new(),
        }
    }
    /// What an owned object's controller reference says.
    pub fn controller_ref(&self, api_version: &str, kind: &str) -> OwnerRef {
        OwnerRef {
            api_version: api_version.into(),
            kind: kind.into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// Any kind: metadata, spec and status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, bound = "S: DeserializeOwned + Default, T: DeserializeOwned + Default")]
pub struct View<S, T> {
    pub metadata: Meta,
    pub spec: S,
    pub status: T,
}

impl<S: DeserializeOwned + Default, T: DeserializeOwned + Default> View<S, T> {
    pub fn of(row: &Row) -> Result<Self, Status> {
        Self::read(&row.bytes)
    }
    pub fn read(bytes: &[u8]) -> Result<Self, Status> {
        skiff_json::from_slice(&skiff_meta::unmanaged(bytes)).map_err(|e| Status::internal(format!("read an object: {e}")))
    }
}

/// Of pods, ReplicaSets, Deployments, Jobs alike.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

pub fn condition<'a>(all: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    all.iter().find(|c| c.kind == kind)
}

/// A `metav1.LabelSelector`; an unreadable one selects nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Selector(Option<Value>);

impl Selector {
    pub fn parsed(&self) -> LabelSelector {
        LabelSelector::from_json(self.0.as_ref()).unwrap_or_else(|_| LabelSelector::nothing())
    }
    pub fn json(&self) -> Value {
        self.0.clone().unwrap_or_default()
    }
    pub fn is_empty(&self) -> bool {
        self.parsed().is_everything()
    }
}
impl From<Value> for Selector {
    fn from(v: Value) -> Self {
        Self(Some(v))
    }
}

/// A number, or a percentage of something.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    Int(i64),
    Percent(String),
}

impl IntOrPercent {
    /// Of `total`; what is no percentage counts as nothing (validation refuses it).
    pub fn of(&self, total: i64, round_up: bool) -> i64 {
        match self {
            IntOrPercent::Int(n) => *n,
            IntOrPercent::Percent(s) => {
                let percent: i64 = s.strip_suffix('%').and_then(|n| n.parse().ok()).unwrap_or(0);
                let exact = percent.saturating_mul(total);
                if round_up { exact.saturating_add(99).div_euclid(100) } else { exact.div_euclid(100) }
            }
        }
    }
}

/// For `#[serde(default = …)]` of fields that the server defaults.
pub(crate) fn one() -> i64 {
    1
}

pub(crate) fn is_zero(n: &i64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn percentages_round_as_asked() {
        let p = |s: &str| IntOrPercent::Percent(s.into());
        for (v, total, up, down) in [(p("25%"), 3, 1, 0), (p("25%"), 4, 1, 1), (p("100%"), 7, 7, 7), (IntOrPercent::Int(5), 1, 5, 5), (p("x"), 9, 0, 0)] {
            assert_eq!((v.of(total, true), v.of(total, false)), (up, down), "{v:?}");
        }
    }
    #[test]
    fn times_are_strings() {
        let t: Time = skiff_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap();
        assert_eq!(skiff_json::to_string(&t).unwrap(), "\"2026-01-01T00:00:00Z\"");
    }
}
