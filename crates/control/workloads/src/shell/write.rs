//! Writes that keep what this crate does not know: they edit the object's own JSON.
use crate::{
    claim::{Claim, adoption, claim, release},
    view::{Meta, OwnerRef, View},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use skiff_client::{Client, PatchBody, Target};
use skiff_controller::{At, Failed};
use skiff_informer::Row;
use skiff_json::{RawValue, Value};
use skiff_meta::{GroupVersionResource, Head, LabelSelector, Reason, Status, unmanaged};
use std::{borrow::Cow, sync::Arc};

/// Without the managed fields: the server keeps those that it has when none are sent.
fn parse(row: &Row) -> Result<Value, Status> {
    skiff_json::from_slice(&unmanaged(&row.bytes)).map_err(Status::internal)
}
fn target(resource: &GroupVersionResource, row: &Row) -> Target {
    Target::new(resource.clone(), row.namespace(), row.name())
}

/// Puts a status on the version that was read; writes nothing when it is the same. Returns the new version.
pub(crate) async fn put_status(client: &Client, resource: &GroupVersionResource, row: &Row, status: &impl Serialize) -> Result<Option<Row>, Failed> {
    put_with(client, resource, row, status, None).await
}

/// The same with an annotation, which the status subresource takes too (without a change of generation).
pub(crate) async fn put_annotated(
    client: &Client,
    resource: &GroupVersionResource,
    row: &Row,
    status: &impl Serialize,
    annotation: (&str, &str),
) -> Result<Option<Row>, Failed> {
    put_with(client, resource, row, status, Some(annotation)).await
}

async fn put_with(
    client: &Client,
    resource: &GroupVersionResource,
    row: &Row,
    status: &impl Serialize,
    annotation: Option<(&str, &str)>,
) -> Result<Option<Row>, Failed> {
    let what = row.key.clone();
    let bytes = unmanaged(&row.bytes);
    let held: Held = skiff_json::from_slice(&bytes).map_err(Status::internal).at("read", &what)?;
    let status = skiff_json::to_value(status).map_err(Status::internal).at("write the status of", &what)?;
    if annotation.is_none() && same(&held.status, &status) {
        return Ok(None);
    }
    let body = held.with(&status, annotation).map_err(Status::internal).at("write the status of", &what)?;
    let bytes = client.update_bytes(target(resource, row).sub("status"), body).await.at("update the status of", &what)?;
    Row::of(bytes).at("read", &what).map(Some)
}

/// What a write of a status sends: the spec is the server's, and is neither read nor sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(default)]
    status: Value,
}

impl Held<'_> {
    fn with(&self, status: &Value, annotation: Option<(&str, &str)>) -> skiff_json::Result<String> {
        let metadata = match annotation {
            None => self.metadata.to_owned(),
            Some((key, value)) => {
                let mut metadata: Value = skiff_json::from_str(self.metadata.get())?;
                metadata["annotations"][key] = value.into();
                skiff_json::to_raw_value(&metadata)?
            }
        };
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            #[serde(skip_serializing_if = "str::is_empty")]
            api_version: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            kind: &'a str,
            metadata: &'a RawValue,
            status: &'a Value,
        }
        skiff_json::to_string(&Body { api_version: &self.api_version, kind: &self.kind, metadata: &metadata, status })
    }
}

/// Whether two statuses say the same once fields that the server leaves out (0, false, "", [], {}, null) are left out.
fn same(a: &Value, b: &Value) -> bool {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    };
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(k, v)| same(v, y.get(k).unwrap_or(&Value::Null))) && y.iter().all(|(k, v)| x.contains_key(k) || same(&Value::Null, v))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(p, q)| same(p, q)),
        (Value::Null, Value::Object(y)) | (Value::Object(y), Value::Null) => y.values().all(|v| same(&Value::Null, v)),
        (x, y) => x == y || (empty(x) && empty(y)),
    }
}

/// Edits the version that was read and puts it; a conflict means that it has changed. Returns the new bytes.
pub(crate) async fn edit(client: &Client, resource: &GroupVersionResource, row: &Row, change: impl FnOnce(&mut Value)) -> Result<bytes::Bytes, Failed> {
    let mut object = parse(row).at("read", &row.key)?;
    change(&mut object);
    client.update_bytes(target(resource, row), object.to_string()).await.at("update", &row.key)
}

/// The objects of `rows` that `owner` controls, after adopting those that its selector finds and releasing those it
/// finds no more. An adopted one gets `finalizer`. Before the first adoption the owner is read anew: it may be on its way out.
pub(crate) async fn owned<S, T>(
    client: &Client,
    resource: &GroupVersionResource,
    rows: &[Arc<Row>],
    owner: (&GroupVersionResource, &Meta, &OwnerRef),
    selector: &LabelSelector,
    finalizer: Option<&str>,
) -> Result<Vec<(Arc<Row>, View<S, T>)>, Failed>
where
    S: DeserializeOwned + Default,
    T: DeserializeOwned + Default,
{
    let (owner_resource, meta, reference) = owner;
    let mut mine = Vec::new();
    let mut may_adopt = None;
    for row in rows {
        let view = View::<S, T>::of(row).at("read", &row.key)?;
        let patch = match claim(meta, selector, &view.metadata) {
            Claim::Owned => {
                mine.push((row.clone(), view));
                continue;
            }
            Claim::Foreign => continue,
            Claim::Release => release(&view.metadata, &meta.uid),
            Claim::Adopt => {
                if may_adopt.is_none() {
                    may_adopt = Some(still_there(client, owner_resource, meta).await?);
                }
                if may_adopt != Some(true) {
                    continue;
                }
                adoption(&view.metadata, reference, finalizer)
            }
        };
        let adopted = !patch["metadata"]["ownerReferences"].is_null() && claim(meta, selector, &view.metadata) == Claim::Adopt;
        match client.patch_bytes(target(resource, row), PatchBody::merge(&patch)).await {
            Ok(_) if adopted => mine.push((row.clone(), view)),
            Ok(_) => {}
            Err(e) if e.is(Reason::NotFound) => {}
            Err(source) => return Err(Failed { step: "change the controller of", object: row.key.to_string(), source }),
        }
    }
    Ok(mine)
}

async fn still_there(client: &Client, resource: &GroupVersionResource, meta: &Meta) -> Result<bool, Failed> {
    match client.get_bytes(Target::new(resource.clone(), meta.namespace.as_str(), meta.name.as_str())).await {
        Ok(bytes) => {
            let head = Head::of(&bytes).map_err(Status::internal).at("read", meta.key())?;
            Ok(head.uid == meta.uid && head.deletion_timestamp.is_none())
        }
        Err(e) if e.is(Reason::NotFound) => Ok(false),
        Err(source) => Err(Failed { step: "get", object: meta.key(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Held, same};
    use skiff_json::{Value, json};
    #[test]
    fn a_status_is_sent_without_the_spec() {
        let bytes =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "annotations": {"k": "1"}}, "spec": {"replicas": 3}}).to_string();
        let held: Held = skiff_json::from_str(&bytes).unwrap();
        for (annotation, annotations) in [(None, json!({"k": "1"})), (Some(("x", "y")), json!({"k": "1", "x": "y"}))] {
            let body: Value = skiff_json::from_str(&held.with(&json!({"replicas": 2}), annotation).unwrap()).unwrap();
            let want = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "annotations": annotations}, "status": {"replicas": 2}});
            assert_eq!(body, want);
        }
    }
    #[test]
    fn empty_fields_make_no_difference() {
        assert!(same(&json!({"a": 1}), &json!({"a": 1, "b": 0, "c": [], "d": {"e": ""}, "f": null})));
        assert!(same(&json!(null), &json!({"replicas": 0})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 2})));
        assert!(!same(&json!({"a": [1]}), &json!({"a": [1, 0]})));
        assert!(same(&json!(null), &json!({})));
    }
}
