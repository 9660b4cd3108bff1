//! FieldsV1: a field set as nested JSON (`f:` field, `k:` key, `v:` value, `i:` index, `.` the field itself).
use crate::{Element, FieldSet, Scalar, set::Node};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use skiff_json::{Map, Value};
use smol_str::SmolStr;
use std::fmt::{self, Write};

/// Deeper sets are refused.
const MAX_DEPTH: usize = 128;

impl FieldSet {
    pub fn to_fields_v1(&self) -> Value {
        let mut out = Map::with_capacity(self.nodes().len());
        for n in self.nodes() {
            let below = match n.below.to_fields_v1() {
                Value::Object(below) if n.member && !below.is_empty() => {
                    let mut own = Map::with_capacity(below.len() + 1);
                    own.insert(".", Value::Object(Map::new()));
                    own.extend(below);
                    Value::Object(own)
                }
                below => below,
            };
            out.insert(write(&n.element), below);
        }
        Value::Object(out)
    }
    /// None when it is no field set. A string is the text of one, as folded objects have it.
    pub fn from_fields_v1(v: &Value) -> Option<Self> {
        match v {
            Value::String(text) => Self::from_text(text),
            v => read_set(v, 0).map(|(set, _)| set),
        }
    }
    /// The text of [`Self::to_fields_v1`].
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(64 * self.nodes().len());
        spell(self, false, &mut out, &mut String::new());
        out
    }
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        // Depth is bounded by the reader's own limit.
        skiff_json::from_str::<Level>(text).ok().map(|l| l.below)
    }
}

/// What a text of canonical fields has below an element; None when it has not the element.
pub(crate) fn below<'t>(text: &'t str, element: &Element) -> Option<&'t str> {
    let (mut wanted, mut key) = (String::new(), String::new());
    spell_element(element, &mut key);
    quote(&key, &mut wanted);
    let mut rest = text.strip_prefix('{')?;
    while !rest.starts_with('}') {
        let key = rest.get(..string_end(rest)?)?;
        let value = rest.get(key.len() + 1..)?;
        let end = object_end(value)?;
        if key == wanted {
            return value.get(..end);
        }
        rest = value.get(end..)?;
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    None
}

/// Whether the element that a text stands below is a member itself.
pub(crate) fn is_member(text: &str) -> bool {
    text == "{}" || text.starts_with("{\".\":")
}

fn string_end(text: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.as_bytes().get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn object_end(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.as_bytes().get(at)? {
            b'"' => at += string_end(text.get(at..)?)?,
            b'{' => {
                depth += 1;
                at += 1;
            }
            b'}' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Writes what is below a node that is a `member` or is not.
fn spell(set: &FieldSet, member: bool, out: &mut String, key: &mut String) {
    out.push('{');
    if member && !set.is_empty() {
        out.push_str("\".\":{}");
    }
    for n in set.nodes() {
        if !out.ends_with('{') {
            out.push(',');
        }
        key.clear();
        spell_element(&n.element, key);
        quote(key, out);
        out.push(':');
        spell(&n.below, n.member, out, key);
    }
    out.push('}');
}

/// A JSON string; most have nothing to escape but quotes.
fn quote(text: &str, out: &mut String) {
    if text.bytes().any(|b| b < 0x20 || b == b'\\') {
        let _ = write!(out, "{}", Value::from(text));
        return;
    }
    out.push('"');
    for (i, part) in text.split('"').enumerate() {
        if i > 0 {
            out.push_str("\\\"");
        }
        out.push_str(part);
    }
    out.push('"');
}

/// What stands below a field, out of its text.
#[derive(Default)]
struct Level {
    own: bool,
    below: FieldSet,
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Levels)
    }
}

struct Levels;

impl<'de> Visitor<'de> for Levels {
    type Value = Level;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of fields")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Level, A::Error> {
        let (mut nodes, mut own, mut empty) = (Vec::new(), false, true);
        while let Some(Key(element)) = from.next_key()? {
            empty = false;
            let Level { own: member, below } = from.next_value()?;
            match element {
                Some(element) => nodes.push(Node { element, member, below }),
                None => own = true,
            }
        }
        Ok(Level { own: own || empty, below: FieldSet::of(nodes) })
    }
}

/// None: the field itself.
struct Key(Option<Element>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl Visitor<'_> for Keys {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path element")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                match text {
                    "." => Ok(Key(None)),
                    text => read(text).map(|e| Key(Some(e))).ok_or_else(|| E::custom("no path element")),
                }
            }
        }
        from.deserialize_str(Keys)
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
    let mut out = String::new();
    spell_element(e, &mut out);
    out
}

fn spell_element(e: &Element, out: &mut String) {
    match e {
        Element::Field(n) => {
            out.push_str("f:");
            out.push_str(n);
        }
        Element::Key(k) => {
            out.push_str("k:{");
            for (i, (name, v)) in k.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                quote(name, out);
                out.push(':');
                spell_scalar(v, out);
            }
            out.push('}');
        }
        Element::Value(v) => {
            out.push_str("v:");
            spell_scalar(v, out);
        }
        Element::Index(i) => {
            let _ = write!(out, "i:{i}");
        }
    }
}

fn spell_scalar(v: &Scalar, out: &mut String) {
    match v {
        Scalar::String(s) => quote(s, out),
        v => {
            let _ = write!(out, "{v}");
        }
    }
}

/// Name and text of a key of one field, where no character stands for another.
fn plain(key: &str) -> Option<(&str, &str)> {
    if key.bytes().any(|b| b < 0x20 || b == b'\\') {
        return None;
    }
    let (name, value) = key.strip_prefix("{\"")?.strip_suffix("\"}")?.split_once("\":\"")?;
    (!name.contains('"') && !value.contains('"')).then_some((name, value))
}

fn read(key: &str) -> Option<Element> {
    let (kind, rest) = key.split_once(':')?;
    Some(match kind {
        "f" => Element::field(rest),
        "v" => Element::Value(Scalar::of(&skiff_json::from_str(rest).ok()?)),
        "i" => Element::Index(rest.parse().ok()?),
        "k" => {
            if let Some((name, value)) = plain(rest) {
                return Some(Element::Key([(name.into(), Scalar::String(value.into()))].into()));
            }
            let map: Map = skiff_json::from_str(rest).ok()?;
            let mut k: Vec<(SmolStr, Scalar)> = map.iter().map(|(n, v)| (n.clone(), Scalar::of(v))).collect();
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
        let text =
            r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}},"f:x":{"v:\"y\"":{}}}}"#;
        let v: Value = skiff_json::from_str(text).unwrap();
        assert_eq!(FieldSet::from_fields_v1(&v).unwrap().to_fields_v1().to_string(), text);
        assert!(FieldSet::from_fields_v1(&skiff_json::json!({"x": {}})).is_none());
    }
    #[test]
    fn the_text_says_the_same() {
        for text in [
            r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}},"f:x":{"v:\"y\"":{}}}}"#,
            r#"{"f:a\\b\"c":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{},"k:{\"name\":\"x\\\"y\"}":{"f:z":{}},"k:{\"name\":\"ä\"}":{".":{},"i:3":{}},"v:1.5":{},"v:null":{},"v:true":{}}}"#,
            "{}",
        ] {
            let v: Value = skiff_json::from_str(text).unwrap();
            let (of_value, of_text) = (FieldSet::from_fields_v1(&v).unwrap(), FieldSet::from_fields_v1(&Value::from(text)).unwrap());
            assert_eq!(of_value, of_text, "{text}");
            assert_eq!(of_text.to_text(), of_value.to_fields_v1().to_string());
            assert_eq!(FieldSet::from_fields_v1(&Value::from(of_text.to_text())).unwrap(), of_text);
        }
        for text in ["", "{", "[]", "1", r#"{"f:a":1}"#, r#"{"x":{}}"#, r#"{"f:a":{"g":{}}}"#, "{}{}"] {
            assert!(FieldSet::from_fields_v1(&Value::from(text)).is_none(), "{text}");
        }
        let deep = format!("{}{}", r#"{"f:a":"#.repeat(1000), "}".repeat(1000));
        assert!(FieldSet::from_fields_v1(&Value::from(deep)).is_none());
    }
}
