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
    both(old, new, shape, &mut Vec::new(), &mut c);
    c
}

fn both(old: &Value, new: &Value, shape: Shape<'_>, path: &mut Vec<Element>, c: &mut Comparison) {
    let (o, n) = (relation(shape, old), relation(shape, new));
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if o == Relation::Map && n == Relation::Map => {
            for (name, v) in old {
                path.push(Element::field(name));
                match new.get(name) {
                    Some(w) => both(v, w, shape.field(name), path, c),
                    None => one(v, shape.field(name), path, !shape.declares(name), &mut c.removed),
                }
                path.pop();
            }
            for (name, w) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                path.push(Element::field(name));
                one(w, shape.field(name), path, !shape.declares(name), &mut c.added);
                path.pop();
            }
        }
        (Value::Array(old), Value::Array(new)) if o == n && n != Relation::Atomic => lists(old, new, shape, path, c),
        _ if same(old, new) => {}
        _ if o == Relation::Atomic && n == Relation::Atomic => c.modified.insert(path),
        // A change of type, or of null to a map: all that was goes, all that is comes.
        _ => {
            one(old, shape, path, false, &mut c.removed);
            one(new, shape, path, false, &mut c.added);
        }
    }
}

fn lists(old: &[Value], new: &[Value], shape: Shape<'_>, path: &mut Vec<Element>, c: &mut Comparison) {
    let group = |items: &'_ [Value]| {
        let mut m: BTreeMap<Element, Vec<usize>> = BTreeMap::new();
        for (i, v) in items.iter().enumerate() {
            m.entry(element_of(shape, v, i).unwrap_or(Element::Index(i))).or_default().push(i);
        }
        m
    };
    let (was, is) = (group(old), group(new));
    for (e, at) in &was {
        path.push(e.clone());
        match is.get(e) {
            Some(to) if at.len() == 1 && to.len() == 1 => both(&old[at[0]], &new[to[0]], shape.item(), path, c),
            // Duplicates are owned as one: any difference modifies the item as a whole.
            Some(to) => {
                if at.len() != to.len() || at.iter().zip(to).any(|(&a, &b)| !same(&old[a], &new[b])) {
                    c.modified.insert(path);
                }
            }
            None => at.iter().for_each(|&i| one(&old[i], shape.item(), path, true, &mut c.removed)),
        }
        path.pop();
    }
    for (e, at) in is.iter().filter(|(e, _)| !was.contains_key(e)) {
        path.push(e.clone());
        at.iter().for_each(|&i| one(&new[i], shape.item(), path, true, &mut c.added));
        path.pop();
    }
}

/// A value that only one side has: all its fields, and itself when `own`.
fn one(v: &Value, shape: Shape<'_>, path: &mut Vec<Element>, own: bool, set: &mut FieldSet) {
    match (relation(shape, v), v) {
        (Relation::Map, Value::Object(m)) => {
            for (name, child) in m {
                path.push(Element::field(name));
                one(child, shape.field(name), path, !shape.declares(name), set);
                path.pop();
            }
            if own || m.is_empty() {
                set.insert(path);
            }
        }
        (Relation::Set | Relation::Keyed, Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                path.push(element_of(shape, item, i).unwrap_or(Element::Index(i)));
                one(item, shape.item(), path, true, set);
                path.pop();
            }
            if own {
                set.insert(path);
            }
        }
        _ => set.insert(path),
    }
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
