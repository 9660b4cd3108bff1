//! Canonical JSON bytes: Go's field order, sorted maps, nothing that Go leaves out, no white space.

use skiff_json::{Map, Value};
use skiff_schema::{Field, Kind, Ty, Type, by_name};

use super::zero;

const JSON_SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Appends an object of a known type.
pub fn object(ty: &Type, map: &Map, out: &mut Vec<u8>) {
    out.push(b'{');
    let start = out.len();
    for field in ty.fields {
        let value = match map.get(field.name) {
            Some(value) if zero::left_out(field, value) => continue,
            Some(Value::Null) | None => match zero::absent(field) {
                Some(zero) => {
                    member(field, &zero, start, out);
                    continue;
                }
                None => continue,
            },
            Some(value) => value,
        };
        member(field, value, start, out);
    }
    out.push(b'}');
}

fn member(field: &Field, value: &Value, start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b',');
    }
    string(field.name, out);
    out.push(b':');
    typed(&field.ty, value, out);
}

fn typed(ty: &Ty, value: &Value, out: &mut Vec<u8>) {
    match (ty.kind, value) {
        (Kind::Ref(inner), Value::Object(map)) => object(inner, map, out),
        (Kind::List(item), Value::Array(items)) => {
            list(items, out, |value, out| typed(item, value, out));
        }
        (Kind::Map(map), Value::Object(members)) => {
            sorted(members, out, |value, out| typed(&map.value, value, out));
        }
        (Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings, value) => {
            schema(value, out);
        }
        (_, value) => raw(value, out),
    }
}

fn schema(value: &Value, out: &mut Vec<u8>) {
    match (value, by_name(JSON_SCHEMA_PROPS)) {
        (Value::Object(map), Some(ty)) => object(ty, map, out),
        (Value::Array(items), Some(_)) => list(items, out, schema),
        _ => raw(value, out),
    }
}

fn list(items: &[Value], out: &mut Vec<u8>, each: impl Fn(&Value, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        each(item, out);
    }
    out.push(b']');
}

fn sorted(members: &Map, out: &mut Vec<u8>, each: impl Fn(&Value, &mut Vec<u8>)) {
    out.push(b'{');
    let start = out.len();
    let mut write = |key: &str, value: &Value| {
        if out.len() > start {
            out.push(b',');
        }
        string(key, out);
        out.push(b':');
        each(value, out);
    };
    if members.keys().is_sorted() {
        members.iter().for_each(|(key, value)| write(key, value));
    } else {
        let mut order: Vec<(_, &Value)> = members.iter().collect();
        order.sort_by_key(|(key, _)| *key);
        order.into_iter().for_each(|(key, value)| write(key, value));
    }
    out.push(b'}');
}

/// Appends a value as it is, keys in their order.
pub fn raw(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => list(items, out, raw),
        Value::Object(members) => {
            out.push(b'{');
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                raw(value, out);
            }
            out.push(b'}');
        }
        Value::String(text) => string(text, out),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// Appends a value without a table, every object's keys sorted, as Go writes maps.
pub fn untyped(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => list(items, out, untyped),
        Value::Object(members) => sorted(members, out, untyped),
        other => raw(other, out),
    }
}

/// Appends a string with Go's escapes: the JSON ones, and `<`, `>`, `&` and the two line separators.
pub fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            b'<' => b"\\u003c",
            b'>' => b"\\u003e",
            b'&' => b"\\u0026",
            0xe2 if bytes.get(at + 1..at + 3) == Some(&[0x80, 0xa8]) => b"\\u2028",
            0xe2 if bytes.get(at + 1..at + 3) == Some(&[0x80, 0xa9]) => b"\\u2029",
            0..0x20 => {
                out.extend_from_slice(bytes.get(clean..at).unwrap_or_default());
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                clean = at + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(bytes.get(clean..at).unwrap_or_default());
        out.extend_from_slice(escape);
        clean = at + if *byte == 0xe2 { 3 } else { 1 };
    }
    out.extend_from_slice(bytes.get(clean..).unwrap_or_default());
    out.push(b'"');
}
