//! FieldsV1: a field set as nested JSON (`f:` field, `k:` key, `v:` value, `i:` index, `.` the field itself).
use crate::{Element, FieldSet, Scalar, set::Node};
use serde_json::{Map, Value};
use smol_str::SmolStr;
use std::fmt::Write;

/// Deeper sets are refused.
const MAX_DEPTH: usize = 128;

impl FieldSet {
    pub fn to_fields_v1(&self) -> Value {
        let mut out = Map::with_capacity(self.nodes().len());
        for n in self.nodes() {
            let below = match n.below.to_fields_v1() {
                Value::Object(below) if n.member && !below.is_empty() => {
                    let mut own = Map::with_capacity(below.len() + 1);
                    own.insert(".".into(), Value::Object(Map::new()));
                    own.extend(below);
                    Value::Object(own)
                }
                below => below,
            };
            out.insert(write(&n.element), below);
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
    let (mut nodes, mut own) = (Vec::with_capacity(map.len()), map.is_empty());
    for (key, below) in map {
        if key == "." {
            own = true;
            continue;
        }
        let (below, member) = read_set(below, depth + 1)?;
        nodes.push(Node { element: read(key)?, member, below });
    }
    Some((FieldSet::of(nodes), own))
}

fn write(e: &Element) -> String {
    match e {
        Element::Field(n) => format!("f:{n}"),
        Element::Key(k) => {
            let mut out = String::from("k:{");
            for (i, (name, v)) in k.iter().enumerate() {
                let _ = write!(out, "{}{}:{v}", if i > 0 { "," } else { "" }, Value::from(name.as_str()));
            }
            out.push('}');
            out
        }
        Element::Value(v) => format!("v:{v}"),
        Element::Index(i) => format!("i:{i}"),
    }
}

fn read(key: &str) -> Option<Element> {
    let (kind, rest) = key.split_once(':')?;
    Some(match kind {
        "f" => Element::field(rest),
        "v" => Element::Value(Scalar::of(&serde_json::from_str(rest).ok()?)),
        "i" => Element::Index(rest.parse().ok()?),
        "k" => {
            let map: Map<String, Value> = serde_json::from_str(rest).ok()?;
            let mut k: Vec<(SmolStr, Scalar)> = map.iter().map(|(n, v)| (n.into(), Scalar::of(v))).collect();
            k.sort();
            Element::Key(k.into())
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
