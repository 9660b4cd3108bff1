//! `metadata.generation`: 1 at creation (of most kinds), one more when what is desired changes.
use crate::value::{at, same};
use skiff_json::Value;

#[derive(Clone, Copy)]
pub struct Generation {
    /// At creation; 0 for none until the first change.
    pub first: i64,
    /// Whether the desired state differs.
    pub changed: fn(new: &Value, old: &Value) -> bool,
}

fn differs(new: &Value, old: &Value, path: &str) -> bool {
    !same(at(new, path), at(old, path))
}

pub const ON_SPEC: Generation = Generation { first: 1, changed: |n, o| differs(n, o, "spec") };
/// No selector is something else than an empty one.
pub const ON_SPEC_OR_SELECTOR: Generation =
    Generation { first: 1, changed: |n, o| differs(n, o, "spec") || at(n, "spec.selector").is_some() != at(o, "spec.selector").is_some() };
/// Also when what goes is an empty object: there its being there says something.
pub const ON_EXACT_SPEC: Generation = Generation { first: 1, changed: |n, o| n.get("spec") != o.get("spec") };
pub const ON_SPEC_OR_ANNOTATIONS: Generation = Generation { first: 1, changed: |n, o| differs(n, o, "spec") || differs(n, o, "metadata.annotations") };
pub const ON_TEMPLATE: Generation = Generation { first: 1, changed: |n, o| differs(n, o, "template") };
pub const ON_WEBHOOKS: Generation = Generation { first: 1, changed: |n, o| differs(n, o, "webhooks") };
/// A CSIDriver counts its changes only.
pub const ON_CHANGED_SPEC: Generation = Generation { first: 0, ..ON_SPEC };
pub const ONCE: Generation = Generation { first: 1, changed: |_, _| false };
/// Everything beside the metadata, but labels: kinds that have no spec.
pub const ON_CONTENT: Generation = Generation { first: 1, changed: content_differs };

/// Everything beside metadata and status: custom resources.
pub const ON_CUSTOM: Generation = Generation { first: 1, changed: custom_differs };

/// Everything beside metadata: custom resources without a status subresource.
pub const ON_ALL: Generation = Generation { first: 1, changed: all_differs };

fn all_differs(new: &Value, old: &Value) -> bool {
    differs(new, old, "status") || custom_differs(new, old)
}

fn custom_differs(new: &Value, old: &Value) -> bool {
    let desired = |v: &Value| {
        v.as_object()
            .map(|m| m.keys().filter(|k| !matches!(k.as_str(), "metadata" | "status" | "apiVersion" | "kind")).cloned().collect::<Vec<_>>())
            .unwrap_or_default()
    };
    desired(new).iter().chain(&desired(old)).any(|k| !same(new.get(k), old.get(k)))
}

fn content_differs(new: &Value, old: &Value) -> bool {
    let keys = |v: &Value| v.as_object().map(|m| m.keys().filter(|k| *k != "metadata").cloned().collect::<Vec<_>>()).unwrap_or_default();
    differs(new, old, "metadata.labels") || keys(new).iter().chain(&keys(old)).any(|k| !same(new.get(k), old.get(k)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn an_empty_selector_is_one() {
        let (all, none) = (json!({"spec": {"minAvailable": 1, "selector": {}}}), json!({"spec": {"minAvailable": 1}}));
        assert!((ON_SPEC_OR_SELECTOR.changed)(&none, &all) && !(ON_SPEC_OR_SELECTOR.changed)(&all, &all) && !(ON_SPEC.changed)(&none, &all));
    }
}
