//! Tables and bare metadata: what kubectl prints, made from stored bytes for a moment.
use crate::sparse::{self, Object, Unread};
use bytes::Bytes;
use skiff_json::{Value, json};
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
    /// The version of `meta.k8s.io` that is told.
    pub version: &'static str,
    /// Annotations that metadata alone is without.
    pub inner: &'static [&'static str],
}

pub(crate) fn meta_kind(kind: &'static str, version: &'static str) -> GroupVersionKind {
    GroupVersionKind::new("meta.k8s.io", version, kind)
}

fn definition(c: &Column) -> Value {
    json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority})
}

impl Source {
    /// What no cell shows.
    pub fn unread(&self) -> Unread {
        Unread::new(self.columns.unread)
    }
}

fn sparse<'a>(bytes: &'a [u8], unread: &Unread) -> Result<Object<'a>, Status> {
    sparse::object(bytes, unread).map_err(|e| Status::internal(format!("decode an object for its table row: {e}")))
}

/// Brings a list's items into the order that their rows have.
pub(crate) fn sort(source: &Source, items: &mut Vec<Bytes>) -> Result<(), Status> {
    let Some(by) = source.columns.order else { return Ok(()) };
    let unread = source.unread();
    let ordered = items.drain(..).map(|i| Ok((by(&sparse(&i, &unread)?.value), i)));
    let mut ordered = ordered.collect::<Result<Vec<_>, Status>>()?;
    ordered.sort_by_key(|(order, _)| *order);
    items.extend(ordered.into_iter().map(|(_, i)| i));
    Ok(())
}

/// Appends an object's row as JSON.
pub(crate) fn row(source: &Source, unread: &Unread, bytes: &Bytes, row: &mut Vec<u8>) -> Result<(), Status> {
    write_row(source, bytes, &sparse(bytes, unread)?, row)
}

fn write_row(source: &Source, bytes: &Bytes, Object { value: v, metadata }: &Object<'_>, row: &mut Vec<u8>) -> Result<(), Status> {
    let mut cells = (source.columns.cells)(v, source.now);
    // A row may have more cells than there are columns, as upstream's have.
    cells.resize(cells.len().max(source.columns.columns.len()), Value::Null);
    row.extend_from_slice(b"{\"cells\":");
    skiff_json::to_writer(&mut *row, &cells).map_err(Status::internal)?;
    match source.include {
        Include::None => row.extend_from_slice(b",\"object\":null"),
        Include::Metadata => {
            row.extend_from_slice(b",\"object\":");
            partial(*metadata, source, row)?;
        }
        Include::Object => {
            row.extend_from_slice(b",\"object\":");
            row.extend_from_slice(bytes);
        }
    }
    if let Some(c) = completed(v) {
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
    let object = sparse(bytes, &source.unread())?;
    let meta = json!({"resourceVersion": object.value["metadata"]["resourceVersion"]});
    let mut out = opening(source, &meta, first).into_bytes();
    write_row(source, bytes, &object, &mut out)?;
    out.extend_from_slice(b"]}");
    Ok(out.into())
}

/// What stands before a table's rows.
pub(crate) fn opening(source: &Source, meta: &Value, defined: bool) -> String {
    let columns = if defined || source.columns.defined_always { source.columns.columns.iter().map(definition).collect() } else { Value::Null };
    let version = source.version;
    format!("{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{meta},\"columnDefinitions\":{columns},\"rows\":[")
}

fn partial(metadata: Option<&[u8]>, source: &Source, out: &mut Vec<u8>) -> Result<(), Status> {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
    out.extend_from_slice(source.version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    match metadata {
        Some(metadata) if !source.inner.is_empty() => out.extend_from_slice(&without_inner(metadata, source.inner)?),
        metadata => out.extend_from_slice(metadata.unwrap_or(b"null")),
    }
    out.push(b'}');
    Ok(())
}

/// Metadata without annotations that are fields of upstream's inner types.
fn without_inner(metadata: &[u8], inner: &[&str]) -> Result<Vec<u8>, Status> {
    let mut v: Value = skiff_json::from_slice(metadata).map_err(Status::internal)?;
    if let Some(m) = v.as_object_mut()
        && let Some(notes) = m.get_mut("annotations").and_then(Value::as_object_mut)
    {
        notes.retain(|k, _| !inner.contains(&k.as_str()));
        if notes.is_empty() {
            m.shift_remove("annotations");
        }
    }
    skiff_json::to_vec(&v).map_err(Status::internal)
}

/// Appends an object's metadata alone.
pub(crate) fn metadata(source: &Source, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
    let metadata = sparse::metadata(bytes).map_err(|e| Status::internal(format!("decode an object for its metadata: {e}")))?;
    partial(metadata, source, out)
}

/// The object's metadata alone, as JSON.
pub(crate) fn metadata_of(source: &Source, bytes: &[u8]) -> Result<Bytes, Status> {
    let mut out = Vec::with_capacity(bytes.len());
    metadata(source, bytes, &mut out)?;
    Ok(out.into())
}

/// What stands before the items of a list of metadata.
pub(crate) fn metadata_opening(meta: &Value, version: &str) -> String {
    format!("{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{meta},\"items\":[")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_registry::print;

    fn event(columns: Columns, first: bool) -> Value {
        let source = Source { columns, now: Timestamp(1_800_000_000), include: Include::None, version: "v1", inner: &[] };
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}).to_string();
        skiff_json::from_slice(&of_event(&source, &object.into(), first).unwrap()).unwrap()
    }

    #[test]
    fn columns_are_declared_as_upstream_declares_them() {
        for (columns, first, declared, cells) in
            [(print::ip_address(), true, Some(2), 3), (print::ip_address(), false, None, 3), (print::api_service(), false, Some(4), 4)]
        {
            let v = event(columns, first);
            assert_eq!(v["columnDefinitions"].as_array().map(Vec::len), declared, "{v}");
            assert_eq!(v["rows"][0]["cells"].as_array().map(Vec::len), Some(cells), "{v}");
        }
        assert_eq!(event(print::storage_version_migration(), true)["columnDefinitions"][0]["format"], "");
    }
}
