//! The managed fields of an object's JSON: often half of its bytes, of interest to few readers.
//!
//! They can be cut out ([`unmanaged`]), or read *folded*: each entry's `fieldsV1` as the text of its JSON, in a string, which
//! spares a map a field. Folded objects live within the server's pipeline alone. What is shown to others is [`unfold`]ed
//! first, and what comes from others may not pass for folded ([`distrust`]).
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};
use std::{borrow::Cow, fmt};

const LIST: &str = "managedFields";
const FIELDS: &str = "fieldsV1";

/// JSON of an object without `metadata.managedFields`; what has no such list stays as it is.
pub fn unmanaged(json: &[u8]) -> Cow<'_, [u8]> {
    match list(json) {
        Some(place) => Cow::Owned(without(json, &place)),
        None => Cow::Borrowed(json),
    }
}

/// Reads an object with its managed fields folded.
pub fn folded(json: &[u8]) -> serde_json::Result<Value> {
    let Some(place) = list(json) else { return serde_json::from_slice(json) };
    let mut v: Value = serde_json::from_slice(&without(json, &place))?;
    let entries: Vec<Entry> = serde_json::from_slice(json.get(place.value..place.end).unwrap_or_default())?;
    let entries = entries.into_iter().map(|e| Value::Object(e.0)).collect();
    if let Some(metadata) = v.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(LIST.into(), Value::Array(entries));
    }
    Ok(v)
}

/// Every entry's fields as JSON again.
pub fn unfold(v: &mut Value) {
    each(v, |fields| {
        if let Value::String(text) = fields {
            *fields = serde_json::from_str(text).unwrap_or_default();
        }
    });
}

/// Takes texts out that somebody else put in the fields' place: they are no fields.
pub fn distrust(v: &mut Value) {
    each(v, |fields| {
        if fields.is_string() {
            *fields = Value::Null;
        }
    });
}

fn each(v: &mut Value, change: impl Fn(&mut Value)) {
    let entries = v.get_mut("metadata").and_then(|m| m.get_mut(LIST)).and_then(Value::as_array_mut);
    entries.into_iter().flatten().filter_map(|e| e.get_mut(FIELDS)).for_each(change);
}

/// An entry with its fields folded.
struct Entry(Map<String, Value>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an entry of managed fields")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Entry, A::Error> {
                let mut entry = Map::new();
                while let Some(key) = from.next_key::<String>()? {
                    let value = if key == FIELDS { fold(from.next_value()?).map_err(A::Error::custom)? } else { from.next_value()? };
                    entry.insert(key, value);
                }
                Ok(Entry(entry))
            }
        }
        from.deserialize_map(Members)
    }
}

fn fold(fields: &RawValue) -> serde_json::Result<Value> {
    match fields.get().as_bytes().first() {
        Some(b'{') => Ok(Value::String(fields.get().to_owned())),
        // No fields at all, whatever it says.
        Some(b'"') => Ok(Value::Null),
        _ => serde_json::from_str(fields.get()),
    }
}

/// A member of an object: where its key and its value begin, and where it ends.
struct Place {
    key: usize,
    value: usize,
    end: usize,
}

fn without(json: &[u8], place: &Place) -> Vec<u8> {
    let (before, after) = (json.get(..place.key).unwrap_or_default().trim_ascii_end(), json.get(place.end..).unwrap_or_default().trim_ascii_start());
    // One of the commas around it goes, too.
    match (before.split_last(), after.split_first()) {
        (Some((b',', before)), _) => [before, after].concat(),
        (_, Some((b',', after))) => [before, after].concat(),
        _ => [before, after].concat(),
    }
}

/// The list of managed fields. None: there is none, or this is no JSON up to there.
fn list(json: &[u8]) -> Option<Place> {
    let (_, metadata) = member(json, blanks(json, 0), "metadata")?;
    let (key, value) = member(json, metadata, LIST)?;
    (json.get(value) == Some(&b'[')).then_some(())?;
    Some(Place { key, value, end: skip(json, value)? })
}

/// Where the key of an object's member begins, and its value.
fn member(json: &[u8], object: usize, name: &str) -> Option<(usize, usize)> {
    let mut at = object;
    (json.get(at) == Some(&b'{')).then_some(())?;
    loop {
        at = blanks(json, at + 1);
        (json.get(at) == Some(&b'"')).then_some(())?;
        let (key, end) = (at, string_end(json, at)?);
        at = blanks(json, end);
        (json.get(at) == Some(&b':')).then_some(())?;
        let value = blanks(json, at + 1);
        if json.get(key + 1..end - 1)? == name.as_bytes() {
            return Some((key, value));
        }
        at = blanks(json, skip(json, value)?);
        (json.get(at) == Some(&b',')).then_some(())?;
    }
}

fn blanks(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// Behind the value that begins here.
fn skip(json: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut depth) = (from, 0_usize);
    loop {
        match json.get(at)? {
            b'"' => at = string_end(json, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            // A number or a word ends before what cannot be of it.
            _ if depth == 0 => {
                let rest = json.get(at..)?;
                return Some(at + rest.iter().position(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace())?);
            }
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Behind the string whose opening quote is here.
fn string_end(json: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FULL: &str = r#"{"kind":"K","metadata":{"name":"a","generation":7,"annotations":{"managedFields":"[x]","b":"\"},{"},"managedFields":[{"manager":"m","fieldsV1":{"f:a":{"k:{\"x\":\"]\"}":{}},"f:b":{}},"time":"t"},{"manager":"n"}]},"spec":{"x":"]"}}"#;

    #[test]
    fn only_the_list_goes() {
        let cases = [
            (FULL, r#"{"kind":"K","metadata":{"name":"a","generation":7,"annotations":{"managedFields":"[x]","b":"\"},{"}},"spec":{"x":"]"}}"#),
            (r#"{"metadata":{"managedFields":[],"name":"a"}}"#, r#"{"metadata":{"name":"a"}}"#),
            (r#"{"metadata":{"managedFields":[{}]}}"#, r#"{"metadata":{}}"#),
            (r#" { "a" : [ 1 , true ] , "metadata" : { "managedFields" : [ { } ] , "name" : "a" } }"#, r#" { "a" : [ 1 , true ] , "metadata" : { "name" : "a" } }"#),
        ];
        for (json, wanted) in cases {
            assert_eq!(std::str::from_utf8(&unmanaged(json.as_bytes())).unwrap(), wanted);
        }
    }
    #[test]
    fn what_has_none_stays() {
        let spec = r#"{"metadata":{"name":"a"},"spec":{"metadata":{"managedFields":[1]},"managedFields":[2]}}"#;
        let cut = r#"{"metadata":{"managedFields":[{"a":"#;
        for json in [spec, cut, r#"{"metadata":{"managedFields":null}}"#, r#"{"metadata":[]}"#, r#"{"managedFields":[1]}"#, "", "{", "{}", "[1]", "}", r#"{"a"#, r#"{"a\"#, r#"{"a":1"#] {
            assert_eq!(&*unmanaged(json.as_bytes()), json.as_bytes());
        }
    }
    #[test]
    fn folded_objects_unfold() {
        let mut v = folded(FULL.as_bytes()).unwrap();
        assert_eq!(v["metadata"]["managedFields"][0]["fieldsV1"], r#"{"f:a":{"k:{\"x\":\"]\"}":{}},"f:b":{}}"#);
        unfold(&mut v);
        assert_eq!(v.to_string(), FULL);
        assert!(folded(b"{").is_err());
    }
    #[test]
    fn texts_of_others_are_no_fields() {
        let mut v = json!({"metadata": {"managedFields": [{"fieldsV1": "{}"}, {"fieldsV1": {}}, 1]}});
        distrust(&mut v);
        assert_eq!(v, json!({"metadata": {"managedFields": [{"fieldsV1": null}, {"fieldsV1": {}}, 1]}}));
    }
}
