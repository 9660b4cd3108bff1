//! The other encodings: YAML and protobuf, both ways.
use bytes::Bytes;
use skiff_meta::{GroupVersionKind, Reason, Status};
use skiff_request::ListAnswer;

pub(crate) fn yaml(_json: &[u8]) -> Result<Bytes, Status> {
    Err(Status::new(Reason::NotAcceptable, "YAML is not there yet"))
}
pub(crate) fn protobuf(_kind: &GroupVersionKind, _json: &[u8]) -> Result<Bytes, Status> {
    Err(Status::new(Reason::NotAcceptable, "protobuf is not there yet"))
}
pub(crate) fn protobuf_list(kind: &GroupVersionKind, list: &ListAnswer) -> Result<Bytes, Status> {
    protobuf(kind, &crate::answer::whole_list(kind, list))
}
/// Whether a kind has a protobuf form.
pub(crate) fn has_protobuf(_group: &str) -> bool {
    false
}
/// One length-delimited `WatchEvent`.
pub(crate) fn protobuf_event(kind: &GroupVersionKind, _form: &crate::negotiate::Form, _event: &str, object: &[u8]) -> Result<Bytes, Status> {
    protobuf(kind, object)
}
