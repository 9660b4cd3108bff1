//! A value without the fields of a set.
use crate::{
    Element, FieldSet, Relation, Shape,
    set::Node,
    walk::{element_of, relation},
};
use skiff_json::{Map, Value};

/// Members go with all that is below them. A map or list of which nothing is left is null, not absent: who owns it keeps it.
pub(crate) fn remove(v: &Value, set: &FieldSet, shape: Shape<'_>) -> Value {
    match (relation(shape, v), v) {
        (Relation::Map, Value::Object(m)) => {
            let mut out = Map::new();
            for (name, child) in m {
                let node = set.field(name);
                if !node.is_some_and(|n| n.member) {
                    out.insert(name.clone(), below(child, node, shape.field(name)));
                }
            }
            if out.is_empty() { Value::Null } else { Value::Object(out) }
        }
        (Relation::Set | Relation::Keyed, Value::Array(items)) => {
            let mut out = Vec::new();
            for (i, item) in items.iter().enumerate() {
                let e = element_of(shape, item, i).unwrap_or(Element::Index(i));
                let node = set.node(&e);
                if !node.is_some_and(|n| n.member) {
                    out.push(below(item, node, shape.item()));
                }
            }
            if out.is_empty() { Value::Null } else { Value::Array(out) }
        }
        (_, Value::Object(_) | Value::Array(_)) => Value::Null,
        _ => v.clone(),
    }
}

fn below(v: &Value, node: Option<&Node>, shape: Shape<'_>) -> Value {
    node.map_or_else(|| v.clone(), |n| remove(v, &n.below, shape))
}
