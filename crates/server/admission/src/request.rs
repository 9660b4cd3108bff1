//! What plug-ins ask of a request, and how they refuse it.
use skiff_json::Value;
use skiff_meta::{Status, unmanaged};
use skiff_policy::Attributes;
use skiff_request::Verb;

/// The operations that admission knows (`admission.k8s.io` Operation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

pub(crate) fn operation(a: &Attributes<'_>) -> Operation {
    match a.verb {
        _ if a.connect => Operation::Connect,
        Verb::Update | Verb::Patch => Operation::Update,
        Verb::Delete | Verb::DeleteCollection => Operation::Delete,
        _ => Operation::Create,
    }
}

/// Whether the request is about this resource, whatever its subresource.
pub(crate) fn about(a: &Attributes<'_>, group: &str, resource: &str) -> bool {
    a.target.resource.group == group && a.target.resource.resource == resource
}

/// Whether the request creates a whole object of this resource.
pub(crate) fn creates(a: &Attributes<'_>, group: &str, resource: &str) -> bool {
    operation(a) == Operation::Create && a.target.subresource.is_empty() && about(a, group, resource)
}

/// Whether the request replaces a whole object of this resource.
pub(crate) fn updates(a: &Attributes<'_>, group: &str, resource: &str) -> bool {
    operation(a) == Operation::Update && a.target.subresource.is_empty() && about(a, group, resource)
}

pub(crate) fn forbidden(a: &Attributes<'_>, why: impl AsRef<str>) -> Status {
    Status::forbidden(&a.target.group_resource(), &a.target.name, why.as_ref())
}

/// A stored object without its managed fields, decoded for a moment.
pub(crate) fn stored(a: &Attributes<'_>, resource: &str, namespace: &str, name: &str) -> Option<Value> {
    skiff_json::from_slice(&unmanaged(&a.lookup.get(resource, namespace, name)?)).ok()
}

/// A stored object's labels, in an object that has nothing else.
pub(crate) fn stored_labels(a: &Attributes<'_>, resource: &str, namespace: &str, name: &str) -> Option<Value> {
    let bytes = a.lookup.get(resource, namespace, name)?;
    let labels = skiff_codec::value_at(&bytes, &["metadata", "labels"]).and_then(|l| skiff_json::from_slice::<Value>(l).ok());
    Some(skiff_json::json!({"metadata": {"labels": labels.unwrap_or_default()}}))
}

/// All stored objects of a resource without their managed fields, decoded for a moment.
pub(crate) fn all(a: &Attributes<'_>, resource: &str, namespace: &str) -> Vec<Value> {
    a.lookup.list(resource, namespace).iter().filter_map(|b| skiff_json::from_slice(&unmanaged(b)).ok()).collect()
}

/// Several errors in one text, as Go's aggregate prints them.
pub(crate) fn aggregate(errors: &[String]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for e in errors {
        if !seen.contains(&e.as_str()) {
            seen.push(e);
        }
    }
    match seen.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}
