//! Tables and bare metadata: what kubectl prints, made from stored bytes for a moment.
use crate::sparse::{self, Object};
use bytes::Bytes;
use serde_json::{Value, json, value::RawValue};
use skiff_meta::{GroupVersionKind, Status, Timestamp};
use skiff_registry::print::{Column, Columns};
use skiff_request::ListAnswer;

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

/// What the row is ordered by, and the row as JSON.
fn row(source: &Source, bytes: &Bytes) -> Result<(i64, Vec<u8>), Status> {
    let Object { value: v, metadata } = sparse(bytes, source.columns.unread)?;
    let order = source.columns.order.map_or(0, |by| by(&v));
    let mut cells = (source.columns.cells)(&v, source.now);
    cells.resize(source.columns.columns.len(), Value::Null);
    let mut row = format!("{{\"cells\":{}", Value::Array(cells)).into_bytes();
    match source.include {
        Include::None => row.extend_from_slice(b",\"object\":null"),
        Include::Metadata => {
            row.extend_from_slice(b",\"object\":");
            partial(metadata, &mut row);
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
    Ok((order, row))
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

/// A Table of one object (with its resourceVersion) or of a list's items, as JSON.
pub(crate) fn of_objects(source: &Source, items: &[Bytes], list: Option<&ListAnswer>) -> Result<Bytes, Status> {
    table(source, items, list, true)
}

/// A watch's table: without column definitions after the first row, as upstream sends them.
pub(crate) fn of_event(source: &Source, bytes: &Bytes, first: bool) -> Result<Bytes, Status> {
    table(source, std::slice::from_ref(bytes), None, first)
}

fn table(source: &Source, items: &[Bytes], list: Option<&ListAnswer>, defined: bool) -> Result<Bytes, Status> {
    let meta = match (list, items) {
        (Some(l), _) => l.meta(),
        (None, [one]) => json!({"resourceVersion": sparse(one, source.columns.unread)?.value["metadata"]["resourceVersion"]}),
        _ => json!({}),
    };
    let mut rows = items.iter().map(|i| row(source, i)).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|(order, _)| *order);
    let columns = if defined { source.columns.columns.iter().map(definition).collect() } else { Value::Null };
    let mut out = format!("{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{meta},\"columnDefinitions\":{columns},\"rows\":[").into_bytes();
    out.reserve(rows.iter().map(|(_, r)| r.len() + 1).sum::<usize>() + 2);
    join(rows.iter().map(|(_, r)| r), &mut out);
    out.extend_from_slice(b"]}");
    Ok(out.into())
}

fn join(parts: impl Iterator<Item: AsRef<[u8]>>, out: &mut Vec<u8>) {
    for (i, part) in parts.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(part.as_ref());
    }
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

/// The object's metadata alone, as JSON.
pub(crate) fn metadata_of(bytes: &[u8]) -> Result<Bytes, Status> {
    let object: Metadata<'_> = serde_json::from_slice(bytes).map_err(|e| Status::internal(format!("decode an object for its metadata: {e}")))?;
    let mut out = Vec::with_capacity(bytes.len());
    partial(object.metadata, &mut out);
    Ok(out.into())
}

pub(crate) fn metadata_list(list: &ListAnswer) -> Result<Bytes, Status> {
    let items = list.items.iter().map(|i| metadata_of(i)).collect::<Result<Vec<_>, _>>()?;
    let mut out = format!("{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},\"items\":[", list.meta()).into_bytes();
    join(items.iter(), &mut out);
    out.extend_from_slice(b"]}");
    Ok(out.into())
}
