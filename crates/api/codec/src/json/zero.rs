//! What Go writes for a field that holds nothing, and when it leaves the field out.

use skiff_json::{Map, Value};
use skiff_schema::{Field, Kind, Ty, Type};

/// The output of a field that holds Go's zero value; none when it is left out.
pub fn absent(field: &Field) -> Option<Value> {
    if field.pointer {
        return (!field.omit_empty && !field.omit_zero).then_some(Value::Null);
    }
    if field.omit_zero || (field.omit_empty && omits_when_empty(&field.ty)) {
        return None;
    }
    Some(zero(&field.ty))
}

/// Whether [`absent`] gives something.
pub fn written_when_absent(field: &Field) -> bool {
    if field.pointer { !field.omit_empty && !field.omit_zero } else { !field.omit_zero && !(field.omit_empty && omits_when_empty(&field.ty)) }
}

/// Whether Go's omitempty applies to the type: it never does to structs.
fn omits_when_empty(ty: &Ty) -> bool {
    matches!(ty.kind, Kind::String | Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Float64 | Kind::Bytes | Kind::Any | Kind::List(_) | Kind::Map(_))
}

/// Go's zero value of a type, as JSON.
pub fn zero(ty: &Ty) -> Value {
    match ty.kind {
        Kind::String => Value::String(String::new()),
        Kind::Bool => Value::Bool(false),
        Kind::Int32 | Kind::Int64 | Kind::IntOrString => Value::from(0),
        Kind::Float64 => Value::from(0),
        Kind::Quantity => Value::from("0"),
        Kind::Duration => Value::from("0s"),
        Kind::Ref(inner) => Value::Object(zero_struct(inner)),
        Kind::SchemaOrBool => Value::Bool(false),
        Kind::Bytes
        | Kind::Time
        | Kind::MicroTime
        | Kind::RawExtension
        | Kind::FieldsV1
        | Kind::Json
        | Kind::Any
        | Kind::SchemaOrArray
        | Kind::SchemaOrStrings
        | Kind::List(_)
        | Kind::Map(_) => Value::Null,
    }
}

/// A struct of zeros, with the fields that Go writes all the same.
pub fn zero_struct(ty: &Type) -> Map {
    let mut map = Map::new();
    for field in ty.fields {
        if let Some(value) = absent(field) {
            map.insert(field.name.to_owned(), value);
        }
    }
    map
}

/// Whether Go leaves the field out although it holds `value`.
pub fn left_out(field: &Field, value: &Value) -> bool {
    if value.is_null() {
        return !written_when_absent(field);
    }
    if field.pointer {
        return false;
    }
    if field.omit_zero && matches!(value, Value::Object(map) if map.is_empty()) {
        return true;
    }
    if !field.omit_empty || !omits_when_empty(&field.ty) {
        return false;
    }
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Null => true,
    }
}
