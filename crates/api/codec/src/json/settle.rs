//! A value brought into canonical form where it stands, without a text in between.
//!
//! It does only what decoding the value's text would do without a word: fields into Go's order, zeros away, maps sorted,
//! times and quantities in their canonical spelling. Whatever is unusual (a wrong type, an unknown field, an odd number)
//! it leaves to the decoder, which knows what to say about it; what was changed until then is the same to it.

use skiff_json::{Map, Value};
use skiff_schema::{Field, Kind, Ty, Type};
use std::borrow::Cow;

use super::decode::{assemble, go_float};
use super::{base64, time, zero};

/// Whether the object is in canonical form now.
pub fn object(ty: &'static Type, value: &mut Value) -> bool {
    match value {
        Value::Object(map) => structure(ty, map),
        _ => false,
    }
}

/// Position of a field, which is most often the next one.
fn find(ty: &Type, next: usize, name: &str) -> Option<usize> {
    let ahead = ty.fields.iter().skip(next).position(|f| f.name == name);
    ahead.map(|at| next + at).or_else(|| ty.field_index(name))
}

fn structure(ty: &'static Type, map: &mut Map) -> bool {
    let (mut next, mut in_form) = (0, true);
    for (name, value) in map.iter_mut() {
        let Some(index) = find(ty, next, name) else { return false };
        let Some(field) = ty.fields.get(index) else { return false };
        if !value.is_null() && !typed(&field.ty, value) {
            return false;
        }
        let passed = ty.fields.get(next..index);
        in_form &= passed.is_some_and(|passed| !passed.iter().any(zero::written_when_absent));
        in_form &= !zero::left_out(field, value) && (!value.is_null() || stays_null(field));
        next = index + 1;
    }
    in_form &= !ty.fields.iter().skip(next).any(zero::written_when_absent);
    if !in_form {
        let mut slots: Vec<Option<Value>> = Vec::new();
        slots.resize_with(ty.fields.len(), || None);
        for (name, value) in std::mem::take(map) {
            if let Some(slot) = ty.field_index(&name).and_then(|i| slots.get_mut(i)) {
                *slot = Some(value);
            }
        }
        *map = assemble(ty, slots);
    }
    true
}

fn stays_null(field: &Field) -> bool {
    zero::absent(field).is_some_and(|v| v.is_null())
}

/// The same for a value that is not null.
fn typed(ty: &'static Ty, value: &mut Value) -> bool {
    match (ty.kind, value) {
        (Kind::Ref(inner), Value::Object(map)) => structure(inner, map),
        (Kind::List(item), Value::Array(items)) => items.iter_mut().all(|v| !v.is_null() && typed(item, v)),
        (Kind::Map(of), Value::Object(map)) => {
            let good = map.values_mut().all(|v| !v.is_null() && typed(&of.value, v));
            if good && !map.keys().is_sorted() {
                map.sort_keys();
            }
            good
        }
        (Kind::String, Value::String(_)) | (Kind::Bool, Value::Bool(_)) => true,
        (Kind::Bytes, Value::String(text)) => !text.contains(['\r', '\n']) && base64::decode(text).is_ok(),
        (Kind::Int32 | Kind::IntOrString, Value::Number(n)) => n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
        (Kind::Int64, Value::Number(n)) => n.as_i64().is_some(),
        (Kind::IntOrString, Value::String(_)) => true,
        (Kind::Float64, Value::Number(n)) if n.is_f64() => match n.as_f64() {
            Some(float) => {
                let settled = go_float(float);
                settled == Value::Number(n.clone())
            }
            None => false,
        },
        (Kind::Any | Kind::FieldsV1 | Kind::RawExtension | Kind::Json, value) => plain(value),
        (Kind::Quantity, Value::String(text)) => quantity(text),
        (Kind::Time, Value::String(text)) => respelled(text, |t| time::parse_time(t).ok().filter(|at| !at.is_zero()).map(|at| at.rfc3339())),
        (Kind::MicroTime, Value::String(text)) => respelled(text, |t| time::parse_micro_time(t).ok().filter(|at| !at.is_zero()).map(|at| at.rfc3339_micro())),
        _ => false,
    }
}

/// Most amounts stand as they are.
fn quantity(text: &mut String) -> bool {
    let spelling = match skiff_meta::spelled(text.trim()) {
        Ok(Cow::Borrowed(same)) if same.len() == text.len() => return true,
        Ok(spelling) => spelling.into_owned(),
        Err(_) => return false,
    };
    *text = spelling;
    true
}

/// Puts the canonical spelling in the text's place.
fn respelled(text: &mut String, canonical: impl FnOnce(&str) -> Option<String>) -> bool {
    match canonical(text) {
        Some(spelling) => {
            *text = spelling;
            true
        }
        None => false,
    }
}

/// Whether a value without a table is what its text would be read as.
fn plain(value: &Value) -> bool {
    match value {
        Value::Number(n) => n.is_i64() || n.is_f64(),
        Value::Array(items) => items.iter().all(plain),
        Value::Object(map) => map.values().all(plain),
        _ => true,
    }
}
