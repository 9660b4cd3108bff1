//! What changed between two states.
use crate::{Element, FieldSet, Relation, Shape, walk::{element_of, relation}};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
    /// Without what lies in or under `ignored`.
    pub fn exclude(self, ignored: &FieldSet) -> Self {
        let cut = |s: FieldSet| s.recursive_difference(ignored);
        Self { added: cut(self.added), modified: cut(self.modified), removed: cut(self.removed) }
    }
}

pub(crate) fn compare(old: &Value, new: &Value, shape: Shape<'_>) -> Comparison {
    let mut c = Comparison::default();
    node(Some(old), Some(new), shape, &mut Vec::new(), &mut c);
    c
}

/// How the two sides merge. A side that is absent or null takes the other's way.
fn common(old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) -> Result<Relation, (Relation, Relation)> {
    let of = |v: Option<&Value>| v.filter(|v| !v.is_null()).map(|v| relation(shape, v));
    match (of(old), of(new)) {
        (Some(o), Some(n)) if o != n => Err((o, n)),
        (Some(r), _) | (None, Some(r)) => Ok(r),
        (None, None) => Ok(shape.relation()),
    }
}

/// A field or item that at least one side has. A whole map or list that comes or goes is in the set itself, beside
/// what is below it; one that both sides have is not.
fn node(old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>, path: &mut Vec<Element>, c: &mut Comparison) {
    match common(old, new, shape) {
        Ok(r) if r == Relation::Atomic || (hollow(old) && hollow(new)) => leaf(old, new, path, c),
        Ok(r) => {
            below(r, old, new, shape, path, c);
            match (old, new) {
                (None, _) => c.added.insert(path),
                (_, None) => c.removed.insert(path),
                _ => {}
            }
        }
        // A change of type: what was below goes, what is below comes.
        Err((o, n)) => {
            leaf(old, new, path, c);
            below(o, old, None, shape, path, c);
            below(n, None, new, shape, path, c);
        }
    }
}

fn hollow(v: Option<&Value>) -> bool {
    match v {
        None | Some(Value::Null) => true,
        Some(Value::Object(m)) => m.is_empty(),
        Some(Value::Array(a)) => a.is_empty(),
        Some(_) => false,
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>, path: &[Element], c: &mut Comparison) {
    match (old, new) {
        (None, _) => c.added.insert(path),
        (_, None) => c.removed.insert(path),
        (Some(o), Some(n)) if !same(o, n) => c.modified.insert(path),
        _ => {}
    }
}

fn below(r: Relation, old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>, path: &mut Vec<Element>, c: &mut Comparison) {
    match r {
        Relation::Atomic => {}
        Relation::Map => {
            let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let fresh = new.into_iter().flatten().map(|(name, _)| name).filter(|name| !old.is_some_and(|m| m.contains_key(*name)));
            for name in old.into_iter().flatten().map(|(name, _)| name).chain(fresh) {
                path.push(Element::field(name));
                node(old.and_then(|m| m.get(name)), new.and_then(|m| m.get(name)), shape.field(name), path, c);
                path.pop();
            }
        }
        Relation::Set | Relation::Keyed => lists(items(old), items(new), shape, path, c),
    }
}

fn items(v: Option<&Value>) -> &[Value] {
    v.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn lists(old: &[Value], new: &[Value], shape: Shape<'_>, path: &mut Vec<Element>, c: &mut Comparison) {
    let (was, is) = (grouped(old, shape), grouped(new, shape));
    let fresh = is.keys().filter(|e| !was.contains_key(*e));
    for e in was.keys().chain(fresh) {
        let (o, n) = (was.get(e).map(Vec::as_slice).unwrap_or_default(), is.get(e).map(Vec::as_slice).unwrap_or_default());
        path.push(e.clone());
        match (o, n) {
            ([] | [_], [] | [_]) => node(o.first().copied(), n.first().copied(), shape.item(), path, c),
            // Duplicates are owned as one: any difference modifies the item as a whole.
            ([_, _, ..], [_, _, ..]) => {
                if o.len() != n.len() || o.iter().zip(n).any(|(a, b)| !same(a, b)) {
                    c.modified.insert(path);
                }
            }
            ([_, _, ..], _) => {
                n.first().into_iter().for_each(|v| node(None, Some(v), shape.item(), path, c));
                c.removed.insert(path);
            }
            (_, _) => {
                o.first().into_iter().for_each(|v| node(Some(v), None, shape.item(), path, c));
                c.added.insert(path);
            }
        }
        path.pop();
    }
}

/// Items by their path element; an item without its keys stands for its position.
fn grouped<'v>(items: &'v [Value], shape: Shape<'_>) -> BTreeMap<Element, Vec<&'v Value>> {
    let mut m: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
    for (i, v) in items.iter().enumerate() {
        m.entry(element_of(shape, v, i).unwrap_or(Element::Index(i))).or_default().push(v);
    }
    m
}

/// Equality of JSON values whatever the order of maps, 1 and 1.0 being the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        (Value::Object(x), Value::Object(y)) => x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w))),
        _ => a == b,
    }
}
