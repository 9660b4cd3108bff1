//! A value without the fields of a set.
use crate::{Element, FieldSet, Relation, Shape, walk::{element_of, relation}};
use serde_json::{Map, Value};

/// Members go with all that is below them. None: nothing is left of a map or list that had something.
pub(crate) fn remove(v: &Value, set: &FieldSet, shape: Shape<'_>) -> Option<Value> {
    match (relation(shape, v), v) {
        (Relation::Map, Value::Object(m)) => {
            let mut out = Map::new();
            for (name, child) in m {
                let kept = match set.field(name) {
                    Some(n) if n.member => continue,
                    Some(n) => remove(child, &n.below, shape.field(name)),
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
                match set.node(&e) {
                    Some(n) if n.member => {}
                    Some(n) => out.extend(remove(item, &n.below, shape.item())),
                    None => out.push(item.clone()),
                }
            }
            (!out.is_empty() || items.is_empty()).then_some(Value::Array(out))
        }
        _ => Some(v.clone()),
    }
}
