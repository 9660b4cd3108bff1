//! The metadata of an object, read out of its bytes without decoding the rest.
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

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

impl Head {
    /// Reads canonical JSON; errors are those of skiff_json and name the place. What stands behind all of this is not looked
    /// at: that it is JSON is not said.
    pub fn of(bytes: &[u8]) -> Result<Head, skiff_json::Error> {
        let mut reading = Reading::default();
        match skiff_json::Deserializer::from_slice(bytes).deserialize_map(Members { of: &mut reading, metadata: false }) {
            Err(e) if !reading.done => Err(e),
            _ => Ok(reading.head),
        }
    }
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.owner_references.iter().find(|o| o.controller == Some(true))
    }
}

/// What was read so far. Once all is there, reading ends by an error that is none.
#[derive(Default)]
struct Reading {
    head: Head,
    type_meta: usize,
    done: bool,
}

/// The members of the object, or of its metadata.
struct Members<'r> {
    of: &'r mut Reading,
    metadata: bool,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<(), A::Error> {
        let reading = self.of;
        while let Some(key) = from.next_key::<Cow<'de, str>>()? {
            if self.metadata {
                reading.metadata(&key, &mut from)?;
            } else {
                reading.member(&key, &mut from)?;
            }
        }
        Ok(())
    }
}

impl Reading {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, from: &mut A) -> Result<(), A::Error> {
        match key {
            "apiVersion" => self.head.api_version = from.next_value()?,
            "kind" => self.head.kind = from.next_value()?,
            "metadata" => {
                from.next_value_seed(Members { of: self, metadata: true })?;
                return self.enough();
            }
            _ => return from.next_value::<IgnoredAny>().map(drop),
        }
        self.type_meta += 1;
        Ok(())
    }
    fn metadata<'de, A: MapAccess<'de>>(&mut self, key: &str, from: &mut A) -> Result<(), A::Error> {
        let h = &mut self.head;
        match key {
            "name" => h.name = from.next_value()?,
            "namespace" => h.namespace = from.next_value()?,
            "uid" => h.uid = from.next_value()?,
            "resourceVersion" => h.resource_version = from.next_value()?,
            "generation" => h.generation = from.next_value()?,
            "labels" => h.labels = from.next_value::<Option<_>>()?.unwrap_or_default(),
            "annotations" => h.annotations = from.next_value::<Option<_>>()?.unwrap_or_default(),
            "ownerReferences" => h.owner_references = from.next_value::<Option<_>>()?.unwrap_or_default(),
            "finalizers" => h.finalizers = from.next_value::<Option<_>>()?.unwrap_or_default(),
            "creationTimestamp" => h.creation_timestamp = from.next_value()?,
            "deletionTimestamp" => h.deletion_timestamp = from.next_value()?,
            "deletionGracePeriodSeconds" => h.deletion_grace_period_seconds = from.next_value()?,
            // Behind the name it is the last one; where members are sorted, the name comes later.
            "managedFields" if !h.name.is_empty() => {
                self.enough()?;
                from.next_value::<IgnoredAny>()?;
            }
            _ => drop(from.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
    /// Ends it here, unless the type may still come.
    fn enough<E: Error>(&mut self) -> Result<(), E> {
        self.done = self.type_meta >= 2;
        if self.done { Err(E::custom("all was read")) } else { Ok(()) }
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

    #[test]
    fn members_in_any_order() {
        let sorted = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"managedFields":[{"a":{}}],"name":"a","uid":"u"}}"#;
        let last = br#"{"metadata":{"name":"a","managedFields":[],"uid":"u"},"spec":{},"kind":"Pod","apiVersion":"v1"}"#;
        for bytes in [&sorted[..], last] {
            let h = Head::of(bytes).unwrap();
            assert_eq!((h.kind.as_str(), h.api_version.as_str(), h.name.as_str(), h.uid.as_str()), ("Pod", "v1", "a", "u"));
        }
        let cut = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","labels":null,"managedFields":[ and more"#;
        assert_eq!(Head::of(cut).unwrap().name, "a");
        for bad in [&b"{"[..], b"[]", br#"{"metadata":{"name":1}}"#, br#"{"metadata":{"name":"a""#] {
            assert!(Head::of(bad).is_err());
        }
    }
}
