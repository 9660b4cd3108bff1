//! Literals: scalars, lists, maps, and typed objects, which are maps here.
use crate::{EvalError, Key, Value, evaluate::Evaluation, value};
use kube_cel::cel::common::{
    ast::{EntryExpr, IdedEntryExpr, ListExpr, LiteralValue},
    types::{CelBytes, CelString},
};
use std::{collections::HashMap, sync::Arc};

pub(crate) fn scalar(l: &LiteralValue) -> Value {
    match l {
        LiteralValue::Null => Value::Null,
        LiteralValue::Boolean(b) => Value::Bool(*b.inner()),
        LiteralValue::Int(i) => Value::Int(*i.inner()),
        LiteralValue::UInt(u) => Value::UInt(*u.inner()),
        LiteralValue::Double(d) => Value::Float(*d.inner()),
        LiteralValue::String(s) => value::text(CelString::inner(s)),
        LiteralValue::Bytes(b) => Value::Bytes(Arc::new(CelBytes::inner(b).to_vec())),
    }
}

pub(crate) fn list(ev: &mut Evaluation<'_>, l: &ListExpr) -> Result<Value, EvalError> {
    let mut out = Vec::with_capacity(l.elements.len());
    for (i, e) in l.elements.iter().enumerate() {
        let v = ev.run(e)?;
        if l.optional_indices.contains(&i) {
            out.extend(given(v)?);
        } else {
            out.push(v);
        }
    }
    Ok(Value::List(Arc::new(out)))
}

/// Entries of a map or fields of an object.
pub(crate) fn entries(ev: &mut Evaluation<'_>, entries: &[IdedEntryExpr]) -> Result<Value, EvalError> {
    let mut out = HashMap::with_capacity(entries.len());
    for e in entries {
        let (key, v, optional) = match &e.expr {
            EntryExpr::StructField(f) => (Key::String(Arc::new(f.field.clone())), &f.value, f.optional),
            EntryExpr::MapEntry(m) => (value::key(&ev.run(&m.key)?).ok_or(EvalError::NoSuchOverload)?, &m.value, m.optional),
        };
        let v = ev.run(v)?;
        if optional {
            out.extend(given(v)?.map(|v| (key, v)));
        } else {
            out.insert(key, v);
        }
    }
    Ok(value::map(out))
}

fn given(v: Value) -> Result<Option<Value>, EvalError> {
    value::optional(&v).map(|inner| inner.cloned()).ok_or(EvalError::NoSuchOverload)
}
