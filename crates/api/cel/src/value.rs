//! Values, from and to JSON.
use crate::{EvalError, Key, Map, Opaque, Value};
use kube_cel::cel::objects::OptionalValue;
use skiff_json::Value as Json;
use std::{collections::HashMap, sync::Arc};

pub fn from_json(v: &Json) -> Value {
    match v {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::Int(i),
            (_, Some(u)) => Value::UInt(u),
            _ => Value::Float(n.as_f64().unwrap_or_default()),
        },
        Json::String(s) => text(s),
        Json::Array(a) => Value::List(Arc::new(a.iter().map(from_json).collect())),
        Json::Object(m) => map(m.iter().map(|(k, v)| (Key::String(Arc::new(k.to_string())), from_json(v))).collect()),
    }
}

/// The error names what has no JSON form.
pub fn to_json(v: &Value) -> Result<Json, EvalError> {
    let other = |what: &str| EvalError::Other(format!("unsupported type {what} in a JSON value"));
    Ok(match v {
        Value::Null => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        Value::UInt(u) => (*u).into(),
        Value::Float(f) => (*f).into(),
        Value::String(s) => s.as_str().into(),
        Value::List(l) => l.iter().map(to_json).collect::<Result<_, _>>()?,
        Value::Map(m) => {
            let mut pairs: Vec<(String, &Value)> = m.map.iter().map(|(k, v)| (key_text(k), v)).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(pairs.into_iter().map(|(k, v)| Ok((k, to_json(v)?))).collect::<Result<_, EvalError>>()?)
        }
        Value::Timestamp(t) => t.to_rfc3339().into(),
        v => match optional(v) {
            Some(Some(inner)) => to_json(inner)?,
            Some(None) => Json::Null,
            None => return Err(other(&type_name(v))),
        },
    })
}

/// A map by texts.
pub fn map_of(pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
    map(pairs.into_iter().map(|(k, v)| (Key::String(Arc::new(k)), v)).collect())
}
pub fn bytes(b: Vec<u8>) -> Value {
    Value::Bytes(Arc::new(b))
}

fn key_text(k: &Key) -> String {
    match k {
        Key::Int(i) => i.to_string(),
        Key::Uint(u) => u.to_string(),
        Key::Bool(b) => b.to_string(),
        Key::String(s) => s.to_string(),
    }
}

pub(crate) fn text(s: &str) -> Value {
    Value::String(Arc::new(s.to_owned()))
}
pub(crate) fn map(m: HashMap<Key, Value>) -> Value {
    Value::Map(Map { map: Arc::new(m) })
}
pub(crate) fn key(v: &Value) -> Option<Key> {
    Some(match v {
        Value::Int(i) => Key::Int(*i),
        Value::UInt(u) => i64::try_from(*u).map_or(Key::Uint(*u), Key::Int),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => Key::Int(*f as i64),
        Value::Bool(b) => Key::Bool(*b),
        Value::String(s) => Key::String(s.clone()),
        _ => return None,
    })
}
pub(crate) fn of_key(k: &Key) -> Value {
    match k {
        Key::Int(i) => Value::Int(*i),
        Key::Uint(u) => Value::UInt(*u),
        Key::Bool(b) => Value::Bool(*b),
        Key::String(s) => Value::String(s.clone()),
    }
}

/// Some for an optional value: what is in it, if anything.
pub(crate) fn optional(v: &Value) -> Option<Option<&Value>> {
    match v {
        Value::Opaque(o) => o.downcast_ref::<OptionalValue>().map(OptionalValue::value),
        _ => None,
    }
}
/// An optional with `v` in it, or with nothing.
pub fn optional_of(v: Option<Value>) -> Value {
    Value::Opaque(Arc::new(v.map_or_else(OptionalValue::none, OptionalValue::of)))
}

/// A type as a value: what `type(x)` gives and `int`, `string`, … name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TypeValue(pub String);
impl Opaque for TypeValue {
    fn runtime_type_name(&self) -> &str {
        "type"
    }
}

const TYPES: [&str; 10] = ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"];

pub(crate) fn is_type_name(name: &str) -> bool {
    TYPES.contains(&name)
}
pub(crate) fn type_value(name: &str) -> Value {
    Value::Opaque(Arc::new(TypeValue(name.to_owned())))
}
pub(crate) fn type_name(v: &Value) -> String {
    match v {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Function(..) => "function",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "google.protobuf.Duration",
        Value::Timestamp(_) => "google.protobuf.Timestamp",
        Value::Null => "null_type",
        Value::Opaque(o) => return o.runtime_type_name().to_owned(),
    }
    .to_owned()
}
/// What looking at all of a value costs.
pub(crate) fn size(v: &Value) -> u64 {
    match v {
        Value::String(s) => s.len() as u64 / 10,
        Value::Bytes(b) => b.len() as u64 / 10,
        Value::List(l) => l.iter().map(|v| 1 + size(v)).sum(),
        Value::Map(m) => m.map.values().map(|v| 1 + size(v)).sum(),
        _ => 0,
    }
}
/// Zero values of `optional.ofNonZeroValue`.
pub(crate) fn is_zero(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Int(i) => *i == 0,
        Value::UInt(u) => *u == 0,
        Value::Float(f) => *f == 0.0,
        Value::String(s) => s.is_empty(),
        Value::Bytes(b) => b.is_empty(),
        Value::List(l) => l.is_empty(),
        Value::Map(m) => m.map.is_empty(),
        _ => false,
    }
}
