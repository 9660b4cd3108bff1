//! What is said of stored custom objects whose conversion failed, in upstream's words. Pure.
use crate::table::Resource;
use bytes::Bytes;
use skiff_meta::{Cause, Head, Reason, Revision, Status, StatusDetails};
use skiff_store::Entry;

/// So many objects of a list are told of.
const MOST: usize = 100;

/// The object's key as upstream has it, and what is wrong with it.
fn trouble(row: &Resource, root: &str, bytes: &Bytes, revision: Revision, why: &str) -> (String, String) {
    let head = Head::of(bytes).unwrap_or_default();
    let namespace = if head.namespace.is_empty() { String::new() } else { format!("/{}", head.namespace) };
    let key = format!("{root}/{}/{}{namespace}/{}", row.group, row.plural, head.name);
    let text = format!(
        "StorageError: corrupt object, Code: 7, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: object not decodable revision={}: {why}",
        revision.0
    );
    (key, text)
}

/// Whether a failure is a conversion's.
pub(super) fn converts(row: &Resource) -> bool {
    row.custom.as_ref().is_some_and(|c| c.converter.is_some())
}

pub(super) fn one(row: &Resource, bytes: &Bytes, revision: Revision, failed: Status) -> Status {
    if converts(row) { Status::internal(trouble(row, "", bytes, revision, &failed.message).1) } else { failed }
}

pub(super) fn many(row: &Resource, entries: &[&Entry], failed: Status) -> Status {
    if !converts(row) {
        return failed;
    }
    let causes: Vec<Cause> = entries
        .iter()
        .take(MOST)
        .map(|e| {
            let (field, message) = trouble(row, "/registry", &e.bytes, e.revision, &failed.message);
            Cause { reason: "UnexpectedServerResponse".into(), message, field }
        })
        .collect();
    let resource = row.group_resource();
    let first = causes.first().map(|c| c.message.as_str()).unwrap_or_default();
    let mut message = format!("failed to read one or more {resource} from the storage: {first}");
    if causes.len() > 1 {
        message += &format!(" (and {} more)", causes.len() - 1);
    }
    let details = StatusDetails { name: "list".into(), group: resource.group.to_string(), kind: resource.resource.to_string(), causes, ..Default::default() };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::StoreReadError, message) }
}
