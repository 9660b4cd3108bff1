//! A value without the fields of a set.
use crate::{Element, FieldSet, Relation, Shape, walk::{element_of, relation}};
use serde_json::{Map, Value};

/// Members go with all that is below them. None: nothing is left of a map or list that had something.
pub(crate) fn remove(v: &Value, set: &FieldSet, shape: Shape<'_>) -> Option<Value> {
    match (relation(shape, v), v) {
        (Relation::Map, Value::Object(m)) => {
            let mut out = Map::new();
            for (name, child) in m {
                let e = Element::field(name);
                if set.members.contains(&e) {
                    continue;
                }
                let kept = match set.child(&e).filter(|s| !s.is_empty()) {
                    Some(s) => remove(child, s, shape.field(name)),
                    None => Some(child.clone()),
                };
                out.extend(kept.map(|k| (name.clone(), k)));
            }
            (!out.is_empty() || m.is_empty()).then_some(Value::Object(out))
        }
        (Relation::Set | Relation::Keyed, Value::Array(items)) => {
            let mut out = Vec::new();
            for (i, item) in items.iter().enumerate() {
                let e = element_of(shape, item, i).unwrap_or(Element::Index(i));
                if set.members.contains(&e) {
                    continue;
                }
                match set.child(&e).filter(|s| !s.is_empty()) {
                    Some(s) => out.extend(remove(item, s, shape.item())),
                    None => out.push(item.clone()),
                }
            }
            (!out.is_empty() || items.is_empty()).then_some(Value::Array(out))
        }
        _ => Some(v.clone()),
    }
}
