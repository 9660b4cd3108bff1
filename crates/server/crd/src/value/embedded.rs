//! Objects inside of objects: they say what they are, and their metadata is like any other's.
use crate::schema::Schema;
use skiff_json::{Map, Value, json};
use skiff_meta::value::text;
use skiff_meta::{Cause, is_dns1035_label};

/// Errors of the embedded objects of a value; `root`: of the value itself, too.
pub fn check(v: &Value, s: &Schema, path: &str, root: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(v, s, path, root, &mut causes);
    causes
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn walk(v: &Value, s: &Schema, path: &str, object: bool, causes: &mut Vec<Cause>) {
    match v {
        Value::Object(m) => {
            if object || s.embedded {
                identity(m, path, causes);
            }
            for (k, v) in m {
                if let Some(p) = s.properties.get(k.as_str()) {
                    walk(v, p, &child(path, k), false, causes);
                } else if let Some(a) = s.additional_schema() {
                    walk(v, a, &format!("{path}[{k}]"), false, causes);
                }
            }
        }
        Value::Array(items) => {
            if let Some(p) = &s.items {
                items.iter().enumerate().for_each(|(i, v)| walk(v, p, &format!("{path}[{i}]"), false, causes));
            }
        }
        _ => {}
    }
}

fn identity(m: &Map, path: &str, causes: &mut Vec<Cause>) {
    for key in ["apiVersion", "kind"] {
        let field = child(path, key);
        let invalid = |v: &Value, why: String| Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {}: {why}", skiff_validation::shown(v)),
            field: field.clone(),
        };
        match m.get(key) {
            None => causes.push(Cause { reason: "FieldValueRequired".into(), message: "Required value".into(), field }),
            Some(v @ Value::String(s)) if s.is_empty() => causes.push(invalid(v, "must not be empty".into())),
            Some(v @ Value::String(s)) if key == "apiVersion" => {
                if s.matches('/').count() > 1 {
                    causes.push(invalid(v, format!("unexpected GroupVersion string: {s}")));
                }
            }
            Some(v @ Value::String(s)) => {
                if let Err(errors) = is_dns1035_label(&s.to_lowercase()) {
                    let all: Vec<String> = errors.into_iter().map(|e| e.0).collect();
                    causes.push(invalid(v, format!("may have mixed case, but should otherwise match: {}", all.join(","))));
                }
            }
            Some(v) => causes.push(invalid(v, "must be a string".into())),
        }
    }
    let Some(meta) = m.get("metadata").filter(|m| m.is_object()) else { return };
    let mut meta = meta.clone();
    if text(&meta, "name").is_empty() {
        meta["name"] = "fakename".into();
    }
    let namespaced = !text(&meta, "namespace").is_empty();
    let found = skiff_validation::metadata::create(&json!({"metadata": meta}), namespaced, skiff_validation::names::path_segment);
    causes.extend(found.into_iter().map(|c| Cause { field: child(path, &c.field), ..c }));
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn embedded_objects_say_what_they_are() {
        let s = Schema::read(
            &json!({"type": "object", "properties": {"t": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}),
        );
        let told = |v: Value| check(&v, &s, "", false).into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect::<Vec<_>>();
        assert_eq!(told(json!({"t": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b"}}}})), Vec::<String>::new());
        assert_eq!(told(json!({"t": {"kind": ""}})), ["t.apiVersion: Required value", "t.kind: Invalid value: \"\": must not be empty"]);
        assert_eq!(told(json!({"t": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a b": "c"}}}})).len(), 1);
    }
}
