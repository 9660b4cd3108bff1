//! Canonical bytes of an object, with the hole where the store writes the revision.
use bytes::Bytes;
use skiff_json::{Map, Value};
use skiff_store::Body;

/// `metadata` as Go's ObjectMeta orders it.
const META: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

fn member(out: &mut Vec<u8>, first: &mut bool, key: &str, value: &Value) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    skiff_json::write_text(key, out);
    out.push(b':');
    value.write_to(out);
}

fn empty(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Object(m) => m.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => false,
    }
}

/// Entries whose fields are folded, or are not.
fn managed(out: &mut Vec<u8>, entries: &[Value]) {
    let mut opening = b'[';
    for entry in entries {
        out.push(std::mem::replace(&mut opening, b','));
        let Value::Object(members) = entry else {
            entry.write_to(out);
            continue;
        };
        let mut first = true;
        out.push(b'{');
        for (key, value) in members {
            match value {
                // Whatever came here: only an object may stand there as it is.
                Value::String(text) if key == "fieldsV1" && skiff_json::is_object(text) => {
                    out.extend_from_slice(if std::mem::take(&mut first) { b"\"fieldsV1\":" } else { b",\"fieldsV1\":" });
                    out.extend_from_slice(text.as_bytes());
                }
                value => member(out, &mut first, key, value),
            }
        }
        out.push(b'}');
    }
    out.push(b']');
}

fn metadata(out: &mut Vec<u8>, meta: &Map) -> usize {
    let (mut at, mut first) = (0, true);
    out.push(b'{');
    for key in META {
        if key == "resourceVersion" {
            out.extend_from_slice(if first { b"\"resourceVersion\":\"\"" } else { b",\"resourceVersion\":\"\"" });
            first = false;
            at = out.len() - 1;
            continue;
        }
        match meta.get(key) {
            Some(v) if key == "generation" && v.as_i64() == Some(0) => {}
            Some(Value::Array(entries)) if key == "managedFields" && !entries.is_empty() => {
                out.extend_from_slice(if std::mem::take(&mut first) { b"\"managedFields\":" } else { b",\"managedFields\":" });
                managed(out, entries);
            }
            Some(v) if !empty(v) => member(out, &mut first, key, v),
            _ => {}
        }
    }
    out.push(b'}');
    at
}

/// `kind`, `apiVersion`, `metadata`, then the rest in its order; a status of null is left out.
pub fn encode(v: &Value) -> Body {
    let none = Map::new();
    let object = v.as_object().unwrap_or(&none);
    let (mut out, mut first) = (Vec::with_capacity(4096), true);
    out.push(b'{');
    for key in ["kind", "apiVersion"] {
        if let Some(v) = object.get(key) {
            member(&mut out, &mut first, key, v);
        }
    }
    if !std::mem::take(&mut first) {
        out.push(b',');
    }
    out.extend_from_slice(b"\"metadata\":");
    let at = metadata(&mut out, object.get("metadata").and_then(Value::as_object).unwrap_or(&none));
    for (key, value) in object.iter().filter(|(k, v)| !matches!(k.as_str(), "kind" | "apiVersion" | "metadata") && !(v.is_null() && *k == "status")) {
        member(&mut out, &mut first, key, value);
    }
    out.push(b'}');
    Body { bytes: out.into(), at }
}

/// A created object that was never stored has no revision at all.
pub fn unstamped(body: &Body) -> Bytes {
    let hole = b",\"resourceVersion\":\"\"";
    let start = (body.at + 1).saturating_sub(hole.len());
    match body.bytes.get(start..body.at + 1) {
        Some(part) if part == hole => [&body.bytes[..start], &body.bytes[body.at + 1..]].concat().into(),
        _ => body.bytes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    use skiff_meta::Revision;
    #[test]
    fn managed_fields_are_written_out() {
        let v = json!({"kind": "K", "metadata": {"name": "n", "managedFields": [{"manager": "a", "fieldsV1": "{\"f:a\":{}}", "subresource": "s"}, {"fieldsV1": {"f:b": {}}}, {"fieldsV1": "{]"}]}});
        let wanted = r#"{"kind":"K","metadata":{"name":"n","resourceVersion":"","managedFields":[{"manager":"a","fieldsV1":{"f:a":{}},"subresource":"s"},{"fieldsV1":{"f:b":{}}},{"fieldsV1":"{]"}]}}"#;
        assert_eq!(encode(&v).bytes, wanted);
    }
    #[test]
    fn bytes_are_canonical_and_have_a_hole() {
        let v =
            json!({"spec": {"a": 1}, "metadata": {"labels": {"x": "y"}, "name": "n", "resourceVersion": "7"}, "apiVersion": "v1", "kind": "K", "status": null});
        let body = encode(&v);
        assert_eq!(
            body.stamped(Revision(42)),
            r#"{"kind":"K","apiVersion":"v1","metadata":{"name":"n","resourceVersion":"42","labels":{"x":"y"}},"spec":{"a":1}}"#
        );
    }
}
