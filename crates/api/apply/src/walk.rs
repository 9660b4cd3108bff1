//! From a value to the set of its fields.
use crate::{Element, FieldSet, Relation, Scalar, Shape, set::Node};
use skiff_json::Value;
use skiff_schema::Kind;
use std::collections::HashSet;
use thiserror::Error;

/// The value does not fit its schema: an unknown field, an item without its keys, or two items of one key.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{path}: {why}")]
pub struct WalkError {
    pub path: String,
    pub why: String,
}

/// How a value really merges: a schema that expects another type makes it atomic.
pub(crate) fn relation(shape: Shape<'_>, v: &Value) -> Relation {
    match (shape.relation(), v) {
        (Relation::Map, Value::Object(_)) => Relation::Map,
        (r @ (Relation::Set | Relation::Keyed), Value::Array(_)) => r,
        _ => Relation::Atomic,
    }
}

/// An item's path element: its key, or itself in a set.
pub(crate) fn element_of(shape: Shape<'_>, item: &Value, index: usize) -> Result<Element, String> {
    match shape.relation() {
        Relation::Keyed if !item.is_object() => Err(format!("element {index}: associative list with keys may not have non-map elements")),
        Relation::Keyed => shape.key_of(item).ok_or_else(|| format!("item {index} has none of the list's keys")),
        _ => Ok(Element::Value(Scalar::of(item))),
    }
}

/// Whether two keyed lists have the same items in the same order, each once: told without making their elements.
pub(crate) fn aligned(a: &[Value], b: &[Value], shape: Shape<'_>) -> bool {
    if a.len() != b.len() || shape.relation() != Relation::Keyed {
        return false;
    }
    let keys = shape.keys();
    let same = |x: &Value, y: &Value| keys.iter().all(|k| x.get(k).is_some_and(|v| !v.is_null() && y.get(k) == Some(v)));
    if !a.iter().zip(b).all(|(x, y)| same(x, y)) {
        return false;
    }
    match keys.as_slice() {
        [key] if a.len() > 4 => {
            let mut texts: Vec<&str> = a.iter().filter_map(|v| v.get(key)?.as_str()).collect();
            texts.sort_unstable();
            texts.len() == a.len() && texts.is_sorted_by(|x, y| x < y)
        }
        _ => a.len() <= 16 && a.iter().enumerate().all(|(i, x)| !a.iter().take(i).any(|y| same(x, y))),
    }
}

/// The first item that has the element of one before it.
fn repeated(items: &[Value], shape: Shape<'_>) -> Option<Element> {
    let mut seen = HashSet::new();
    items.iter().enumerate().find_map(|(i, v)| {
        let element = element_of(shape, v, i).ok()?;
        (!seen.insert(element.clone())).then_some(element)
    })
}

/// The fields that `v` sets. With `unique`, unknown fields and two items of one key are errors (upstream checks the applied
/// configuration so, never the live object).
pub(crate) fn to_set(v: &Value, shape: Shape<'_>, unique: bool) -> Result<FieldSet, WalkError> {
    walk(v, shape, unique, &mut Vec::new()).map(|(_, set)| set)
}

/// What the schema wants where the value is neither that nor null.
fn expected(shape: Shape<'_>, v: &Value) -> Option<&'static str> {
    match (shape, shape.relation(), v) {
        (Shape::Deduced, ..) | (_, Relation::Atomic, _) | (_, _, Value::Null) => None,
        (_, Relation::Map, Value::Object(_)) | (_, Relation::Set | Relation::Keyed, Value::Array(_)) => None,
        (_, Relation::Map, _) => Some("map"),
        _ => Some("list"),
    }
}

/// Whether what is owned as a whole has the types of the schema all the way down.
fn conform(shape: Shape<'_>, v: &Value, path: &mut Vec<Element>) -> Result<(), WalkError> {
    let Some(ty) = shape.ty() else { return Ok(()) };
    let wrong = |path: &[Element], why: String| Err(WalkError { path: crate::Path(path.to_vec()).to_string(), why });
    match (ty.kind, v) {
        (_, Value::Null) => Ok(()),
        (Kind::List(item), Value::Array(items)) => {
            items.iter().enumerate().try_for_each(|(i, v)| within(path, Element::Index(i), |path| conform(Shape::Inner(item), v, path)))
        }
        (Kind::Ref(t), Value::Object(m)) => m.iter().try_for_each(|(k, v)| match t.field(k) {
            Some(f) => within(path, Element::field(k), |path| conform(Shape::Field(f), v, path)),
            None => Ok(()),
        }),
        (Kind::List(_), v) => wrong(path, format!("expected list, got &{{{}}}", printed(v))),
        (Kind::Ref(_) | Kind::Map(_), v) if !v.is_object() => wrong(path, format!("expected map, got &{{{}}}", printed(v))),
        (Kind::Bool, v) if !v.is_boolean() => wrong(path, format!("expected boolean, got &{{{}}}", printed(v))),
        (Kind::Int32 | Kind::Int64 | Kind::Float64, v) if !v.is_number() => wrong(path, format!("expected numeric (int or float), got {}", go_type(v))),
        (Kind::Time | Kind::MicroTime | Kind::Quantity | Kind::IntOrString, Value::Array(_) | Value::Object(_)) => {
            wrong(path, format!("expected any scalar, got &{{{}}}", printed(v)))
        }
        (Kind::String, v) if !v.is_string() => wrong(path, format!("expected string, got &value.valueUnstructured{{Value:{}}}", written(v))),
        _ => Ok(()),
    }
}

fn within(path: &mut Vec<Element>, step: Element, check: impl FnOnce(&mut Vec<Element>) -> Result<(), WalkError>) -> Result<(), WalkError> {
    path.push(step);
    let found = check(path);
    path.pop();
    found
}

/// As Go prints a value's type with `%T`.
fn go_type(v: &Value) -> &'static str {
    match v {
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        _ => "<nil>",
    }
}

/// As Go prints a value with `%#v`.
fn written(v: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match v {
        Value::Null => "interface {}(nil)".into(),
        Value::String(s) => skiff_meta::go::quote(s),
        Value::Array(items) => format!("[]interface {{}}{{{}}}", joined(items.iter().map(written).collect())),
        Value::Object(m) => {
            let sorted: std::collections::BTreeMap<_, _> = m.iter().collect();
            format!(
                "map[string]interface {{}}{{{}}}",
                joined(sorted.into_iter().map(|(k, v)| format!("{}:{}", skiff_meta::go::quote(k), written(v))).collect())
            )
        }
        other => other.to_string(),
    }
}

/// As Go prints a value with `%v`.
fn printed(v: &Value) -> String {
    match v {
        Value::Null => "<nil>".into(),
        Value::String(s) => s.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::Object(m) => {
            let sorted: std::collections::BTreeMap<_, _> = m.iter().collect();
            format!("map[{}]", sorted.into_iter().map(|(k, v)| format!("{k}:{}", printed(v))).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

/// Whether the value is a field of its own, and the fields below it.
fn walk(v: &Value, shape: Shape<'_>, unique: bool, path: &mut Vec<Element>) -> Result<(bool, FieldSet), WalkError> {
    let error = |path: &[Element], why: String| WalkError { path: crate::Path(path.to_vec()).to_string(), why };
    if unique && let Some(wanted) = expected(shape, v) {
        return Err(error(path, format!("expected {wanted}, got &{{{}}}", printed(v))));
    }
    match (relation(shape, v), v) {
        (Relation::Map, Value::Object(m)) => {
            let mut nodes = Vec::with_capacity(m.len());
            for (name, child) in m {
                let element = Element::field(name);
                path.push(element.clone());
                if unique && shape.forbids(name) {
                    return Err(error(path, "field not declared in schema".into()));
                }
                let (own, below) = walk(child, shape.field(name), unique, path)?;
                let hollow = child.is_null() || child.as_object().is_some_and(|m| m.is_empty());
                nodes.push(Node { element, member: own || hollow || !shape.declares(name), below });
                path.pop();
            }
            Ok((false, FieldSet::of(nodes)))
        }
        (Relation::Set | Relation::Keyed, Value::Array(items)) => {
            let mut nodes = Vec::with_capacity(items.len());
            // An error of an item comes behind that of one that is there twice before it.
            let twice = |path: &[Element], until: usize| match repeated(items.get(..until).unwrap_or_default(), shape) {
                Some(element) if unique => Err(error(path, format!("duplicate entries for key {element}"))),
                _ => Ok(()),
            };
            for (i, item) in items.iter().enumerate() {
                let element = match element_of(shape, item, i) {
                    Ok(element) => element,
                    Err(why) => return Err(twice(path, i).err().unwrap_or_else(|| error(path, why))),
                };
                path.push(element.clone());
                let walked = walk(item, shape.item(), unique, path);
                let Ok((_, below)) = walked else {
                    path.pop();
                    twice(path, i + 1)?;
                    return walked;
                };
                nodes.push(Node { element, member: true, below });
                path.pop();
            }
            let set = FieldSet::of(nodes);
            if set.nodes().len() < items.len() {
                twice(path, items.len())?;
            }
            Ok((false, set))
        }
        _ => {
            if unique {
                conform(shape, v, path)?;
            }
            Ok((true, FieldSet::default()))
        }
    }
}
