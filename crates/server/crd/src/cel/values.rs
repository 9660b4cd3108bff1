//! Values of JSON as a schema declares them.
use super::types::{escape, reserved};
use crate::schema::{Additional, Schema, Type};
use skiff_cel::{Value, bytes, convert, from_json, map_of};
use skiff_json::Value as Json;
use std::sync::Arc;

/// `object`: the root of an object.
pub fn value(v: &Json, s: &Schema, object: bool) -> Value {
    if s.int_or_string {
        return from_json(v);
    }
    match (v, s.kind) {
        (Json::Number(n), Some(Type::Number)) => Value::Float(n.as_f64().unwrap_or_default()),
        (Json::Number(n), Some(Type::Integer)) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::Int),
        (Json::String(t), Some(Type::String)) => text(t, &s.format).unwrap_or_else(|| from_json(v)),
        (Json::Array(items), _) => match s.items.as_deref() {
            Some(i) => Value::List(Arc::new(items.iter().map(|v| value(v, i, i.embedded)).collect())),
            None => from_json(v),
        },
        (Json::Object(m), _) => match &s.additional {
            Additional::Schema(a) if s.properties.is_empty() => map_of(m.iter().map(|(k, v)| (k.to_string(), value(v, a, a.embedded)))),
            _ => map_of(m.iter().flat_map(|(k, v)| fields(k, v, s, object || s.embedded))),
        },
        _ => from_json(v),
    }
}

/// A field under the names that expressions have for it.
fn fields(key: &str, v: &Json, s: &Schema, object: bool) -> Vec<(String, Value)> {
    let Some((escaped, value)) = escape(key).zip(member(key, v, s, object)) else { return Vec::new() };
    let plain = reserved(key).then(|| (key.to_owned(), value.clone()));
    plain.into_iter().chain([(escaped, value)]).collect()
}

/// A field of an object; None where no schema speaks of it.
fn member(key: &str, v: &Json, s: &Schema, object: bool) -> Option<Value> {
    match (key, s.properties.get(key)) {
        ("apiVersion" | "kind", _) if object => Some(from_json(v)),
        ("metadata", _) if object => {
            let known = |k: &str| v.get(k).map(|x| (k.to_owned(), from_json(x)));
            Some(map_of(["name", "generateName"].into_iter().filter_map(known)))
        }
        (_, Some(p)) => Some(value(v, p, p.embedded)),
        (_, None) => None,
    }
}

fn text(t: &str, format: &str) -> Option<Value> {
    let as_text = |t: String| Value::String(Arc::new(t));
    match format {
        "byte" => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.decode(t).ok().map(bytes)
        }
        "duration" => convert("duration", as_text(t.to_owned())).ok(),
        "date" => convert("timestamp", as_text(format!("{t}T00:00:00Z"))).ok(),
        "date-time" => convert("timestamp", as_text(t.to_owned())).ok(),
        _ => None,
    }
}
