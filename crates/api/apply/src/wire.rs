//! FieldsV1: a field set as nested JSON (`f:` field, `k:` key, `v:` value, `i:` index, `.` the field itself).
use crate::{Element, FieldSet, Scalar};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Deeper sets are refused.
const MAX_DEPTH: usize = 128;

impl FieldSet {
    pub fn to_fields_v1(&self) -> Value {
        let mut out = Map::new();
        let both: BTreeSet<&Element> = self.members.iter().chain(self.children.keys()).collect();
        for e in both {
            let mut below = Map::new();
            if let Some(child) = self.children.get(e).filter(|c| !c.is_empty()) {
                if self.members.contains(e) {
                    below.insert(".".into(), Value::Object(Map::new()));
                }
                if let Value::Object(m) = child.to_fields_v1() {
                    below.extend(m);
                }
            }
            out.insert(write(e), Value::Object(below));
        }
        Value::Object(out)
    }
    /// None when it is no field set.
    pub fn from_fields_v1(v: &Value) -> Option<Self> {
        read_set(v, 0).map(|(set, _)| set)
    }
}

/// The set below, and whether the field itself is a member.
fn read_set(v: &Value, depth: usize) -> Option<(FieldSet, bool)> {
    let map = v.as_object().filter(|_| depth < MAX_DEPTH)?;
    let (mut set, mut own) = (FieldSet::default(), map.is_empty());
    for (key, below) in map {
        if key == "." {
            own = true;
            continue;
        }
        let element = read(key)?;
        let (child, member) = read_set(below, depth + 1)?;
        if member {
            set.members.insert(element.clone());
        }
        if !child.is_empty() {
            set.children.insert(element, child);
        }
    }
    Some((set, own))
}

fn write(e: &Element) -> String {
    match e {
        Element::Field(n) => format!("f:{n}"),
        Element::Key(k) => {
            let map: Map<String, Value> = k.iter().map(|(n, v)| (n.clone(), v.to_json())).collect();
            format!("k:{}", Value::Object(map))
        }
        Element::Value(v) => format!("v:{v}"),
        Element::Index(i) => format!("i:{i}"),
    }
}

fn read(key: &str) -> Option<Element> {
    let (kind, rest) = key.split_once(':')?;
    Some(match kind {
        "f" => Element::Field(rest.to_owned()),
        "v" => Element::Value(Scalar::of(&serde_json::from_str(rest).ok()?)),
        "i" => Element::Index(rest.parse().ok()?),
        "k" => {
            let map: Map<String, Value> = serde_json::from_str(rest).ok()?;
            let mut k: Vec<(String, Scalar)> = map.iter().map(|(n, v)| (n.clone(), Scalar::of(v))).collect();
            k.sort();
            Element::Key(k)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn fields_v1_round_trips() {
        let text = r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}},"f:x":{"v:\"y\"":{}}}}"#;
        let v: Value = serde_json::from_str(text).unwrap();
        assert_eq!(FieldSet::from_fields_v1(&v).unwrap().to_fields_v1().to_string(), text);
        assert!(FieldSet::from_fields_v1(&serde_json::json!({"x": {}})).is_none());
    }
}
