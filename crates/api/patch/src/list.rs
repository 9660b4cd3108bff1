//! Strategic merge patch: lists.
use crate::strategic::{DIRECTIVE, Facts, merge_map};
use crate::{PatchError, order};
use skiff_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Where the items of a list stand, by their merge keys, or by themselves where the key is empty: lists that clients
/// send are long enough to make a search an item too much.
pub(crate) struct Places<'a> {
    key: &'a str,
    first: HashMap<&'a Value, usize>,
}

impl<'a> Places<'a> {
    pub fn of(list: &'a [Value], key: &'a str) -> Self {
        let mut first = HashMap::with_capacity(list.len());
        for (i, item) in list.iter().enumerate() {
            if let Some(by) = identity(item, key) {
                first.entry(by).or_insert(i);
            }
        }
        Self { key, first }
    }
    /// The first item that stands for the same.
    pub fn find(&self, item: &Value) -> Option<usize> {
        self.first.get(identity(item, self.key)?).copied()
    }
}

fn identity<'v>(item: &'v Value, key: &str) -> Option<&'v Value> {
    if key.is_empty() { Some(item) } else { item.get(key) }
}

/// `$deleteFromPrimitiveList/<field>`.
pub(crate) fn delete_primitives(out: &mut Map, field: &str, gone: &Value) -> Result<(), PatchError> {
    let gone = gone.as_array().ok_or_else(|| PatchError::Malformed("invalid patch format of deleteFromPrimitiveList".into()))?;
    if let Some(Value::Array(items)) = out.get_mut(field) {
        let gone: HashSet<&Value> = gone.iter().collect();
        items.retain(|i| !gone.contains(i));
    }
    Ok(())
}

/// A list that replaces or begins one: its directives do their work on nothing.
pub(crate) fn without_directives(items: &[Value], facts: Facts) -> Result<Vec<Value>, PatchError> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Value::Object(m) => match m.get(DIRECTIVE).and_then(Value::as_str) {
                Some("delete" | "replace") if m.len() == 1 || m.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") => {}
                _ => out.push(Value::Object(merge_map(&Map::new(), m, facts.item())?)),
            },
            other => out.push(other.clone()),
        }
    }
    Ok(out)
}

/// Merges a list by its merge key, or a list of scalars as a set; keeps the order that upstream gives.
pub(crate) fn merge_list(old: &[Value], patch: &[Value], facts: Facts) -> Result<Vec<Value>, PatchError> {
    let merged = merge_unordered(old, patch, facts)?;
    let key = if patch.iter().chain(old).any(Value::is_object) { facts.merge_key } else { "" };
    Ok(order::arrange(merged, &Places::of(patch, key), &Places::of(old, key)))
}

pub(crate) fn merge_unordered(old: &[Value], patch: &[Value], facts: Facts) -> Result<Vec<Value>, PatchError> {
    if patch.is_empty() && old.is_empty() {
        return Ok(Vec::new());
    }
    if !patch.iter().chain(old).any(Value::is_object) {
        let mut seen = HashSet::new();
        return Ok(old.iter().chain(patch).filter(|i| seen.insert(*i)).cloned().collect());
    }
    let key = facts.merge_key;
    if key.is_empty() {
        return Err(PatchError::Malformed("cannot merge lists without merge key for a list of maps".into()));
    }
    let directive = |m: &Map| m.get(DIRECTIVE).and_then(Value::as_str).map(str::to_owned);
    let mut gone = HashSet::new();
    let maps = || patch.iter().map(|p| p.as_object().ok_or_else(|| PatchError::Malformed("a list of maps holds something else".into())));
    for m in maps() {
        let m = m?;
        match directive(m).as_deref() {
            Some("replace") => {
                return Ok(patch.iter().filter(|p| p.get(DIRECTIVE).is_none()).cloned().collect());
            }
            Some("delete") => {
                gone.insert(m.get(key).ok_or_else(|| missing_key(m, key))?);
            }
            Some("merge") | None => {}
            Some(other) => return Err(PatchError::Malformed(format!("Unknown patch type: {other} found in list"))),
        }
    }
    let mut out: Vec<Value> = old.iter().filter(|o| o.get(key).is_none_or(|k| !gone.contains(k))).cloned().collect();
    let mut places: HashMap<Value, usize> = HashMap::with_capacity(out.len());
    for (i, o) in out.iter().enumerate() {
        if let Some(k) = o.get(key) {
            places.entry(k.clone()).or_insert(i);
        }
    }
    for m in maps() {
        let m = m?;
        if directive(m).as_deref() == Some("delete") {
            continue;
        }
        let wanted = m.get(key).ok_or_else(|| missing_key(m, key))?;
        match places.get(wanted).and_then(|i| out.get_mut(*i)) {
            Some(slot) => {
                let merged = merge_map(slot.as_object().unwrap_or(&Map::new()), m, facts.item())?;
                *slot = Value::Object(merged);
            }
            None => {
                places.insert(wanted.clone(), out.len());
                out.push(Value::Object(merge_map(&Map::new(), m, facts.item())?));
            }
        }
    }
    Ok(out)
}

pub(crate) fn key_eq(a: &Value, b: &Value, key: &str) -> bool {
    if key.is_empty() { a == b } else { a.get(key).is_some() && a.get(key) == b.get(key) }
}

fn missing_key(m: &Map, key: &str) -> PatchError {
    PatchError::Malformed(format!("map: {} does not contain declared merge key: {key}", Value::Object(m.clone())))
}
