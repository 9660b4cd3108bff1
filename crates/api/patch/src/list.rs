//! Strategic merge patch: lists.
use crate::strategic::{DIRECTIVE, Facts, merge_map};
use crate::{PatchError, order};
use serde_json::{Map, Value};

/// `$deleteFromPrimitiveList/<field>`.
pub(crate) fn delete_primitives(out: &mut Map<String, Value>, field: &str, gone: &Value) -> Result<(), PatchError> {
    let gone = gone.as_array().ok_or_else(|| PatchError::Malformed("invalid patch format of deleteFromPrimitiveList".into()))?;
    if let Some(Value::Array(items)) = out.get_mut(field) {
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
    if !patch.iter().chain(old).any(Value::is_object) {
        let present = |i: &Value| patch.contains(i);
        return Ok(order::arrange(merged, &present, patch, old, ""));
    }
    let in_patch = |i: &Value| patch.iter().any(|p| key_eq(p, i, facts.merge_key));
    Ok(order::arrange(merged, &in_patch, patch, old, facts.merge_key))
}

pub(crate) fn merge_unordered(old: &[Value], patch: &[Value], facts: Facts) -> Result<Vec<Value>, PatchError> {
    if patch.is_empty() && old.is_empty() {
        return Ok(Vec::new());
    }
    if !patch.iter().chain(old).any(Value::is_object) {
        let mut out: Vec<Value> = Vec::new();
        for item in old.iter().chain(patch) {
            if !out.contains(item) {
                out.push(item.clone());
            }
        }
        return Ok(out);
    }
    let key = facts.merge_key;
    if key.is_empty() {
        return Err(PatchError::Malformed("cannot merge lists without merge key for a list of maps".into()));
    }
    let directive = |m: &Map<String, Value>| m.get(DIRECTIVE).and_then(Value::as_str).map(str::to_owned);
    let mut out = old.to_vec();
    let maps = || patch.iter().map(|p| p.as_object().ok_or_else(|| PatchError::Malformed("a list of maps holds something else".into())));
    for m in maps() {
        let m = m?;
        match directive(m).as_deref() {
            Some("replace") => {
                return Ok(patch.iter().filter(|p| p.get(DIRECTIVE).is_none()).cloned().collect());
            }
            Some("delete") => {
                let wanted = m.get(key).ok_or_else(|| missing_key(m, key))?;
                out.retain(|o| o.get(key) != Some(wanted));
            }
            Some("merge") | None => {}
            Some(other) => return Err(PatchError::Malformed(format!("Unknown patch type: {other} found in list"))),
        }
    }
    for m in maps() {
        let m = m?;
        if directive(m).as_deref() == Some("delete") {
            continue;
        }
        let wanted = m.get(key).ok_or_else(|| missing_key(m, key))?;
        match out.iter_mut().find(|o| o.get(key) == Some(wanted)) {
            Some(slot) => {
                let merged = merge_map(slot.as_object().unwrap_or(&Map::new()), m, facts.item())?;
                *slot = Value::Object(merged);
            }
            None => out.push(Value::Object(merge_map(&Map::new(), m, facts.item())?)),
        }
    }
    Ok(out)
}

pub(crate) fn key_eq(a: &Value, b: &Value, key: &str) -> bool {
    if key.is_empty() { a == b } else { a.get(key).is_some() && a.get(key) == b.get(key) }
}

fn missing_key(m: &Map<String, Value>, key: &str) -> PatchError {
    PatchError::Malformed(format!("map: {} does not contain declared merge key: {key}", Value::Object(m.clone())))
}
