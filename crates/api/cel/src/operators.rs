//! Operators on values.
use crate::{
    EvalError, Value,
    value::{self, optional},
};
use std::{cmp::Ordering, sync::Arc};

/// Equality over all types: numbers by value, everything else within its type; other pairs are unequal.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    if let (Some(a), Some(b)) = (optional(a), optional(b)) {
        return match (a, b) {
            (Some(a), Some(b)) => equal(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
    }
    match (a, b) {
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b)),
        (Value::Map(a), Value::Map(b)) => a.map.len() == b.map.len() && a.map.iter().all(|(k, v)| b.get(k).is_some_and(|w| equal(v, w))),
        (Value::Opaque(a), Value::Opaque(b)) => a.opaque_eq(&**b),
        (Value::Null, Value::Null) => true,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        _ => order(a, b) == Some(Ordering::Equal),
    }
}

/// None for pairs that have no order.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::UInt(a), Value::UInt(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::UInt(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::UInt(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::UInt(b)) => a.partial_cmp(&(*b as f64)),
        (Value::UInt(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

pub(crate) fn contains(container: &Value, v: &Value) -> Result<bool, EvalError> {
    match container {
        Value::List(l) => Ok(l.iter().any(|x| equal(x, v))),
        Value::Map(m) => Ok(value::key(v).is_some_and(|k| m.get(&k).is_some())),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn overflow() -> EvalError {
    EvalError::Other("integer overflow".into())
}

/// `op` is the sign.
pub(crate) fn arithmetic(op: char, a: Value, b: Value) -> Result<Value, EvalError> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => integers(op, a, b),
        (Value::UInt(a), Value::UInt(b)) => naturals(op, a, b),
        (Value::Float(a), Value::Float(b)) => Ok(Value::Float(match op {
            '+' => a + b,
            '-' => a - b,
            '*' => a * b,
            '/' => a / b,
            _ => return Err(EvalError::NoSuchOverload),
        })),
        (Value::String(a), Value::String(b)) if op == '+' => Ok(Value::String(Arc::new(format!("{a}{b}")))),
        (Value::Bytes(a), Value::Bytes(b)) if op == '+' => Ok(Value::Bytes(Arc::new([&a[..], &b[..]].concat()))),
        (Value::List(a), Value::List(b)) if op == '+' => {
            let mut a = a;
            Arc::make_mut(&mut a).extend(b.iter().cloned());
            Ok(Value::List(a))
        }
        (a, b) => times(op, a, b),
    }
}

fn integers(op: char, a: i64, b: i64) -> Result<Value, EvalError> {
    if b == 0 && matches!(op, '/' | '%') {
        return Err(EvalError::Other(if op == '/' { "division by zero" } else { "modulus by zero" }.into()));
    }
    let out = match op {
        '+' => a.checked_add(b),
        '-' => a.checked_sub(b),
        '*' => a.checked_mul(b),
        '/' => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    out.map(Value::Int).ok_or_else(overflow)
}

fn naturals(op: char, a: u64, b: u64) -> Result<Value, EvalError> {
    if b == 0 && matches!(op, '/' | '%') {
        return Err(EvalError::Other(if op == '/' { "division by zero" } else { "modulus by zero" }.into()));
    }
    let out = match op {
        '+' => a.checked_add(b),
        '-' => a.checked_sub(b),
        '*' => a.checked_mul(b),
        '/' => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    out.map(Value::UInt).ok_or_else(|| EvalError::Other("unsigned integer overflow".into()))
}

/// Timestamps and durations.
fn times(op: char, a: Value, b: Value) -> Result<Value, EvalError> {
    let out = match (op, a, b) {
        ('+', Value::Duration(a), Value::Duration(b)) => a.checked_add(&b).map(Value::Duration),
        ('-', Value::Duration(a), Value::Duration(b)) => a.checked_sub(&b).map(Value::Duration),
        ('+', Value::Timestamp(t), Value::Duration(d)) | ('+', Value::Duration(d), Value::Timestamp(t)) => t.checked_add_signed(d).map(Value::Timestamp),
        ('-', Value::Timestamp(t), Value::Duration(d)) => t.checked_sub_signed(d).map(Value::Timestamp),
        ('-', Value::Timestamp(a), Value::Timestamp(b)) => Some(Value::Duration(a - b)),
        _ => return Err(EvalError::NoSuchOverload),
    };
    out.ok_or_else(|| EvalError::Other("timestamp overflow".into()))
}

pub(crate) fn negate(v: Value) -> Result<Value, EvalError> {
    match v {
        Value::Int(i) => i.checked_neg().map(Value::Int).ok_or_else(overflow),
        Value::Float(f) => Ok(Value::Float(-f)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// A field or a key; None when it is not there.
pub(crate) fn member(v: &Value, key: &Value) -> Result<Option<Value>, EvalError> {
    match v {
        Value::Map(m) => match value::key(key) {
            Some(k) => Ok(m.get(&k).cloned()),
            None => Err(EvalError::NoSuchOverload),
        },
        Value::List(l) => match value::key(key) {
            Some(kube_cel::cel::objects::Key::Int(i)) => Ok(usize::try_from(i).ok().and_then(|i| l.get(i)).cloned()),
            _ => Err(EvalError::NoSuchOverload),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}
