//! Tables and bare metadata: what kubectl prints, made from stored bytes for a moment.
use crate::sparse::{self, Object};
use bytes::Bytes;
use serde_json::{Value, json, value::RawValue};
use skiff_meta::{GroupVersionKind, Status, Timestamp};
use skiff_registry::print::{Column, Columns};

/// Which part of each object goes into a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

/// How rows are made.
#[derive(Clone)]
pub(crate) struct Source {
    pub columns: Columns,
    pub now: Timestamp,
    pub include: Include,
}

pub(crate) fn meta_kind(kind: &'static str) -> GroupVersionKind {
    GroupVersionKind::new("meta.k8s.io", "v1", kind)
}

fn definition(c: &Column) -> Value {
    json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority})
}

fn sparse<'a>(bytes: &'a [u8], unread: &[&str]) -> Result<Object<'a>, Status> {
    sparse::object(bytes, unread).map_err(|e| Status::internal(format!("decode an object for its table row: {e}")))
}

/// Brings a list's items into the order that their rows have.
pub(crate) fn sort(source: &Source, items: &mut Vec<Bytes>) -> Result<(), Status> {
    let Some(by) = source.columns.order else { return Ok(()) };
    let ordered = items.drain(..).map(|i| Ok((by(&sparse(&i, source.columns.unread)?.value), i)));
    let mut ordered = ordered.collect::<Result<Vec<_>, Status>>()?;
    ordered.sort_by_key(|(order, _)| *order);
    items.extend(ordered.into_iter().map(|(_, i)| i));
    Ok(())
}

/// Appends an object's row as JSON.
pub(crate) fn row(source: &Source, bytes: &Bytes, row: &mut Vec<u8>) -> Result<(), Status> {
    let Object { value: v, metadata } = sparse(bytes, source.columns.unread)?;
    let mut cells = (source.columns.cells)(&v, source.now);
    cells.resize(source.columns.columns.len(), Value::Null);
    row.extend_from_slice(format!("{{\"cells\":{}", Value::Array(cells)).as_bytes());
    match source.include {
        Include::None => row.extend_from_slice(b",\"object\":null"),
        Include::Metadata => {
            row.extend_from_slice(b",\"object\":");
            partial(metadata, row);
        }
        Include::Object => {
            row.extend_from_slice(b",\"object\":");
            row.extend_from_slice(bytes);
        }
    }
    if let Some(c) = completed(&v) {
        row.extend_from_slice(format!(",\"conditions\":{c}").as_bytes());
    }
    row.push(b'}');
    Ok(())
}

/// Pods that ended say so beside their row.
fn completed(v: &Value) -> Option<Value> {
    if v["kind"] != "Pod" {
        return None;
    }
    let (reason, message) = match v["status"]["phase"].as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

/// A Table of one object, with its resourceVersion, as JSON.
pub(crate) fn of_object(source: &Source, bytes: &Bytes) -> Result<Bytes, Status> {
    of_event(source, bytes, true)
}

/// A watch's table: without column definitions after the first row, as upstream sends them.
pub(crate) fn of_event(source: &Source, bytes: &Bytes, first: bool) -> Result<Bytes, Status> {
    let meta = json!({"resourceVersion": sparse(bytes, source.columns.unread)?.value["metadata"]["resourceVersion"]});
    let mut out = opening(source, &meta, first).into_bytes();
    row(source, bytes, &mut out)?;
    out.extend_from_slice(b"]}");
    Ok(out.into())
}

/// What stands before a table's rows.
pub(crate) fn opening(source: &Source, meta: &Value, defined: bool) -> String {
    let columns = if defined { source.columns.columns.iter().map(definition).collect() } else { Value::Null };
    format!("{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{meta},\"columnDefinitions\":{columns},\"rows\":[")
}

fn partial(metadata: Option<&RawValue>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":");
    out.extend_from_slice(metadata.map_or("null", RawValue::get).as_bytes());
    out.push(b'}');
}

#[derive(serde::Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

/// Appends an object's metadata alone.
pub(crate) fn metadata(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
    let object: Metadata<'_> = serde_json::from_slice(bytes).map_err(|e| Status::internal(format!("decode an object for its metadata: {e}")))?;
    partial(object.metadata, out);
    Ok(())
}

/// The object's metadata alone, as JSON.
pub(crate) fn metadata_of(bytes: &[u8]) -> Result<Bytes, Status> {
    let mut out = Vec::with_capacity(bytes.len());
    metadata(bytes, &mut out)?;
    Ok(out.into())
}

/// What stands before the items of a list of metadata.
pub(crate) fn metadata_opening(meta: &Value) -> String {
    format!("{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{meta},\"items\":[")
}
