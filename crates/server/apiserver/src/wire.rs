//! The other encodings of answers: YAML and protobuf, made out of canonical JSON.
use crate::negotiate::{Form, Shape};
use bytes::Bytes;
use skiff_codec::{DecodeError, ProtobufList};
use skiff_meta::{GroupVersionKind, Reason, Status};
use skiff_request::ListAnswer;
use skiff_schema::Type;

fn failed(kind: &GroupVersionKind, e: &DecodeError) -> Status {
    Status::internal(format!("encode {kind}: {e}"))
}

pub(crate) fn yaml(json: &[u8]) -> Result<Bytes, Status> {
    let v = skiff_json::from_slice(json).map_err(Status::internal)?;
    Ok(skiff_codec::json_to_yaml(&v).into())
}

fn table(kind: &GroupVersionKind) -> Result<&'static Type, Status> {
    let text =
        || format!("object *{}.{} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message", kind.version, kind.kind);
    skiff_schema::by_gvk(&kind.group, &kind.version, &kind.kind).ok_or_else(|| Status::new(Reason::NotAcceptable, text()))
}

pub(crate) fn protobuf(kind: &GroupVersionKind, json: &[u8]) -> Result<Bytes, Status> {
    let bytes = skiff_codec::encode_protobuf(table(kind)?, &kind.api_version(), &kind.kind, json).map_err(|e| failed(kind, &e))?;
    Ok(bytes.into())
}

/// A list whose pieces are there: its envelope tells how long it is.
pub(crate) struct Pieces {
    length: u64,
    pieces: std::vec::IntoIter<Vec<u8>>,
}

impl crate::pieces::Parts for Pieces {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, Status> {
        let Some(piece) = self.pieces.next() else { return Ok(false) };
        if out.is_empty() {
            *out = piece;
        } else {
            out.extend_from_slice(&piece);
        }
        Ok(true)
    }
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }
}

pub(crate) fn protobuf_list(kind: &GroupVersionKind, list: ListAnswer) -> Result<Pieces, Status> {
    let (ty, api_version) = (table(kind)?, kind.api_version());
    let meta = list.meta().to_string();
    let mut out = ProtobufList::new(ty, &api_version, &kind.kind, meta.as_bytes(), crate::pieces::PIECE).map_err(|e| failed(kind, &e))?;
    for item in &list.items {
        out.push(item).map_err(|e| failed(kind, &e))?;
    }
    let pieces = out.finish();
    Ok(Pieces { length: pieces.iter().map(|p| p.len() as u64).sum(), pieces: pieces.into_iter() })
}

/// One length-delimited `WatchEvent`; an ERROR's object is a Status, a metadata watch's a PartialObjectMetadata.
pub(crate) fn protobuf_event(kind: &GroupVersionKind, form: &Form, event: &str, object: &[u8]) -> Result<Bytes, Status> {
    let kind = match (event, form.shape) {
        ("ERROR", _) => &GroupVersionKind::new("", "v1", "Status"),
        (_, Shape::Metadata | Shape::MetadataList) => &crate::table::meta_kind("PartialObjectMetadata", form.meta),
        _ => kind,
    };
    Ok(skiff_codec::watch_frame(event, &protobuf(kind, object)?).into())
}
