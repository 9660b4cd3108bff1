//! The metadata of an object, read out of its bytes without decoding the rest.
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the store's index and the generic machinery need of any object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owner_references: Vec<OwnerRef>,
    pub finalizers: Vec<String>,
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    pub deletion_grace_period_seconds: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerRef {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub controller: Option<bool>,
    pub block_owner_deletion: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    api_version: String,
    kind: String,
    metadata: Meta,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    generation: i64,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerRef>>,
    finalizers: Option<Vec<String>>,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    deletion_grace_period_seconds: Option<i64>,
}

impl Head {
    /// Reads canonical JSON; errors are those of serde_json and name the place.
    pub fn of(bytes: &[u8]) -> Result<Head, serde_json::Error> {
        let w: Wire = serde_json::from_slice(bytes)?;
        let m = w.metadata;
        Ok(Head {
            api_version: w.api_version,
            kind: w.kind,
            name: m.name,
            namespace: m.namespace,
            uid: m.uid,
            resource_version: m.resource_version,
            generation: m.generation,
            labels: m.labels.unwrap_or_default(),
            annotations: m.annotations.unwrap_or_default(),
            owner_references: m.owner_references.unwrap_or_default(),
            finalizers: m.finalizers.unwrap_or_default(),
            creation_timestamp: m.creation_timestamp,
            deletion_timestamp: m.deletion_timestamp,
            deletion_grace_period_seconds: m.deletion_grace_period_seconds,
        })
    }
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.owner_references.iter().find(|o| o.controller == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn head_reads_metadata_and_skips_the_rest() {
        let h = Head::of(br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"x":"y"},"ownerReferences":[{"uid":"u","controller":true}]},"spec":{"a":[1,{"b":2}]}}"#).unwrap();
        assert_eq!((h.name.as_str(), h.labels["x"].as_str()), ("a", "y"));
        assert_eq!(h.controller().unwrap().uid, "u");
    }
}
