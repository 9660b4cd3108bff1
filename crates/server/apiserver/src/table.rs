//! Tables and bare metadata: what kubectl prints, made from stored bytes for a moment.
use bytes::Bytes;
use serde_json::{Value, json};
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

fn parse(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|e| Status::internal(format!("decode an object for its table row: {e}")))
}

/// The row, and what it is ordered by.
fn row(source: &Source, bytes: &Bytes) -> Result<(i64, Value), Status> {
    let v = parse(bytes)?;
    let order = source.columns.order.map_or(0, |by| by(&v));
    let mut cells = (source.columns.cells)(&v, source.now);
    cells.resize(source.columns.columns.len(), Value::Null);
    let mut row = json!({"cells": cells});
    match source.include {
        Include::None => row["object"] = Value::Null,
        Include::Metadata => row["object"] = partial(&v),
        Include::Object => row["object"] = v.clone(),
    }
    if let Some(c) = completed(&v) {
        row["conditions"] = c;
    }
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

/// A Table of one object (with its resourceVersion) or of a list's items.
pub(crate) fn of_objects(source: &Source, items: &[Bytes], list: Option<&ListAnswer>) -> Result<Value, Status> {
    let meta = match (list, items) {
        (Some(l), _) => l.meta(),
        (None, [one]) => json!({"resourceVersion": parse(one)?["metadata"]["resourceVersion"]}),
        _ => json!({}),
    };
    let mut rows = items.iter().map(|i| row(source, i)).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|(order, _)| *order);
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    let columns: Vec<Value> = source.columns.columns.iter().map(definition).collect();
    Ok(json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": columns, "rows": rows}))
}

fn partial(v: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": v["metadata"]})
}
pub(crate) fn metadata_of(bytes: &[u8]) -> Result<Value, Status> {
    Ok(partial(&parse(bytes)?))
}
pub(crate) fn metadata_list(list: &ListAnswer) -> Result<Value, Status> {
    let items = list.items.iter().map(|i| metadata_of(i)).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": list.meta(), "items": items}))
}

/// A watch's table: without column definitions after the first row, as upstream sends them.
pub(crate) fn of_event(source: &Source, bytes: &Bytes, first: bool) -> Result<Value, Status> {
    let mut table = of_objects(source, std::slice::from_ref(bytes), None)?;
    if !first {
        table["columnDefinitions"] = Value::Null;
    }
    Ok(table)
}
