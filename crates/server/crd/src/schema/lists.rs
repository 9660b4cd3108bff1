//! Lists of type set and map: no item twice.
use super::{ListType, Schema};
use skiff_json::{Map, Value};
use skiff_meta::Cause;
use skiff_validation::shown;
use std::collections::BTreeMap;

/// Duplicate items below a value.
pub fn check(v: &Value, s: &Schema) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(v, s, "", &mut causes);
    causes
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn walk(v: &Value, s: &Schema, path: &str, causes: &mut Vec<Cause>) {
    match v {
        Value::Object(m) => {
            for (k, v) in m {
                if let Some(p) = s.properties.get(k.as_str()) {
                    walk(v, p, &child(path, k), causes);
                } else if let Some(a) = s.additional_schema() {
                    walk(v, a, &format!("{path}[{k}]"), causes);
                }
            }
        }
        Value::Array(items) => {
            match s.list_type {
                ListType::Set => duplicates(items.iter().cloned(), path, causes),
                ListType::Map => keyed(items, s, path, causes),
                ListType::Atomic => {}
            }
            if let Some(below) = &s.items {
                for (i, v) in items.iter().enumerate() {
                    walk(v, below, &format!("{path}[{i}]"), causes);
                }
            }
        }
        _ => {}
    }
}

fn keyed(items: &[Value], s: &Schema, path: &str, causes: &mut Vec<Cause>) {
    if let Some((i, v)) = items.iter().enumerate().find(|(_, v)| !v.is_object() && !v.is_null()) {
        let message = format!("Invalid value: {}: must be an object for an array of list-type map", shown(v));
        causes.push(Cause { reason: "FieldValueInvalid".into(), message, field: format!("{path}[{i}]") });
        return;
    }
    let key = |v: &Value| {
        let mut m = Map::new();
        for k in &s.list_keys {
            if let Some(x) = v.get(k) {
                m.insert(k.clone(), x.clone());
            }
        }
        Value::Object(m)
    };
    duplicates(items.iter().map(key), path, causes);
}

/// Each value that comes again is told once, at its second place.
fn duplicates(items: impl Iterator<Item = Value>, path: &str, causes: &mut Vec<Cause>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (i, v) in items.enumerate() {
        let text = shown(&v);
        let times = seen.entry(text.clone()).or_default();
        *times += 1;
        if *times == 2 {
            causes.push(Cause { reason: "FieldValueDuplicate".into(), message: format!("Duplicate value: {text}"), field: format!("{path}[{i}]") });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn duplicates_are_told_once() {
        let s = Schema::read(&json!({"type": "object", "properties": {
            "s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}}}}));
        let causes = check(&json!({"s": ["a", "b", "a", "a"], "m": [{"k": 1}, {"k": 2}, {"k": 1, "x": 1}]}), &s);
        let told: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        assert_eq!(told, ["s[2]: Duplicate value: \"a\"", "m[2]: Duplicate value: {\"k\":1}"]);
    }
}
