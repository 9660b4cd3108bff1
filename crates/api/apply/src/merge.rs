//! An applied configuration merged into the live object.
use crate::{
    Element, Relation, Shape,
    walk::{aligned, element_of, relation},
};
use skiff_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};

/// `applied` wins where both have a field; lists keep the order of the live items with the applied ones in theirs.
pub(crate) fn merge(live: &Value, applied: &Value, shape: Shape<'_>) -> Value {
    let (l, a) = (relation(shape, live), relation(shape, applied));
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if l == Relation::Map && a == Relation::Map => Value::Object(merge_maps(live, applied, shape)),
        (Value::Array(live), Value::Array(applied)) if l == a && a != Relation::Atomic => Value::Array(merge_lists(live, applied, shape)),
        _ => applied.clone(),
    }
}

fn merge_maps(live: &Map, applied: &Map, shape: Shape<'_>) -> Map {
    let mut out = Map::with_capacity(live.len() + applied.len());
    for (name, old) in live {
        let merged = match applied.get(name) {
            Some(value) if old.is_null() => value.clone(),
            Some(value) => merge(old, value, shape.field(name)),
            None => old.clone(),
        };
        out.insert(name.clone(), merged);
    }
    for (name, value) in applied.iter().filter(|(name, _)| !live.contains_key(name)) {
        out.insert(name.clone(), value.clone());
    }
    out
}

/// Items of both sides stay in the applied order; live-only items stand where they stood relative to their
/// neighbours.
fn merge_lists(live: &[Value], applied: &[Value], shape: Shape<'_>) -> Vec<Value> {
    // The same items in the same order, as it is most often.
    if aligned(live, applied, shape) {
        return live.iter().zip(applied).map(|(l, a)| merge(l, a, shape.item())).collect();
    }
    let keyed = |items: &[Value]| -> Vec<Element> { items.iter().enumerate().map(|(i, v)| element_of(shape, v, i).unwrap_or(Element::Index(i))).collect() };
    let (live_keys, applied_keys) = (keyed(live), keyed(applied));
    if live_keys == applied_keys && live_keys.iter().collect::<HashSet<_>>().len() == live_keys.len() {
        return live.iter().zip(applied).map(|(l, a)| merge(l, a, shape.item())).collect();
    }
    let applied_at: BTreeMap<&Element, usize> = applied_keys.iter().enumerate().map(|(i, k)| (k, i)).collect();
    let mut live_at: BTreeMap<&Element, Vec<usize>> = BTreeMap::new();
    for (i, k) in live_keys.iter().enumerate() {
        live_at.entry(k).or_default().push(i);
    }
    let merged = |j: usize| match live_at.get(&applied_keys[j]).map(Vec::as_slice) {
        // Duplicates in the live list are replaced by the one that is applied.
        Some([i]) => merge(&live[*i], &applied[j], shape.item()),
        _ => applied[j].clone(),
    };
    let mut out = Vec::with_capacity(live.len() + applied.len());
    let (mut i, mut j) = (0, 0);
    while i < live.len() || j < applied.len() {
        if j >= applied.len() || (i < live.len() && !applied_at.contains_key(&live_keys[i])) {
            // Only live, or behind the last applied item.
            if !applied_at.contains_key(&live_keys[i]) {
                out.push(live[i].clone());
            }
            i += 1;
        } else {
            out.push(merged(j));
            if i < live.len() && (live_keys[i] == applied_keys[j] || applied_at.get(&live_keys[i]).is_some_and(|&at| at < j)) {
                i += 1;
            }
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn lists_keep_their_order() {
        let schema = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
        for (live, applied, want) in [
            (json!(["a", "b", "c"]), json!(["b"]), json!(["a", "b", "c"])),
            (json!(["a", "b"]), json!(["c"]), json!(["a", "b", "c"])),
            (json!(["a", "b", "c"]), json!(["c", "a"]), json!(["c", "a", "b"])),
        ] {
            let got = merge(&live, &applied, Shape::Open(&schema));
            let mut sorted: Vec<_> = got.as_array().unwrap().clone();
            sorted.sort_by_key(|v| v.to_string());
            let mut expected: Vec<_> = want.as_array().unwrap().clone();
            expected.sort_by_key(|v| v.to_string());
            assert_eq!(sorted, expected, "{live} + {applied}");
        }
    }
    #[test]
    fn maps_merge_by_field_and_lists_without_schema_are_replaced() {
        let got = merge(&json!({"a": {"x": 1}, "l": [1]}), &json!({"a": {"y": 2}, "l": [2]}), Shape::Deduced);
        assert_eq!(got, json!({"a": {"x": 1, "y": 2}, "l": [2]}));
    }
}
