//! The managed fields of an object's JSON: often half of its bytes, of interest to few readers.
//!
//! They can be cut out ([`unmanaged`]), or read *folded*: each entry's `fieldsV1` as the text of its JSON, in a string, which
//! spares a map a field. Folded objects live within the server's pipeline alone. What is shown to others is [`unfold`]ed
//! first, and what comes from others may not pass for folded ([`distrust`]).
use skiff_json::{
    Map, Value,
    pass::{string_end, value_end},
};
use std::{borrow::Cow, ops::Range};

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
pub fn folded(json: &[u8]) -> skiff_json::Result<Value> {
    let Some(place) = list(json) else { return skiff_json::parse(json) };
    let mut v = skiff_json::parse(&without(json, &place))?;
    let list = json.get(place.value..place.end).unwrap_or_default();
    let entries = entries(list).map_or_else(|| skiff_json::from_slice(list), Ok)?;
    if let Some(metadata) = v.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(LIST, Value::Array(entries));
    }
    Ok(v)
}

/// The entries of a list, folded. None: something in it is for a real reader.
fn entries(list: &[u8]) -> Option<Vec<Value>> {
    let (mut all, mut at) = (Vec::new(), blanks(list, 1));
    while list.get(at) != Some(&b']') {
        let (entry, end) = entry(list, at)?;
        all.push(Value::Object(entry));
        at = blanks(list, end);
        if list.get(at) == Some(&b',') {
            at = blanks(list, at + 1);
        }
    }
    Some(all)
}

fn entry(json: &[u8], object: usize) -> Option<(Map, usize)> {
    let (mut members, mut at) = (Map::new(), object);
    (json.get(at) == Some(&b'{')).then_some(())?;
    loop {
        at = blanks(json, at + 1);
        if members.is_empty() && json.get(at) == Some(&b'}') {
            return Some((members, at + 1));
        }
        let (key, value) = pair(json, at)?;
        at = value_end(json, value)?;
        let Value::String(key) = skiff_json::parse(json.get(key)?).ok()? else { return None };
        let text = json.get(value..at)?;
        let value = match text.first() {
            Some(b'{') if key == FIELDS => Value::String(std::str::from_utf8(text).ok()?.to_owned()),
            // No fields at all, whatever it says.
            Some(b'"') if key == FIELDS => Value::Null,
            _ => skiff_json::parse(text).ok()?,
        };
        members.insert(key, value);
        at = blanks(json, at);
        match json.get(at)? {
            b',' => {}
            b'}' => return Some((members, at + 1)),
            _ => return None,
        }
    }
}

/// The JSON of an object's metadata alone, without its managed fields. None where that is not easily told.
pub fn bare_metadata(json: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (_, from) = member(json, blanks(json, 0), "metadata")?;
    match member(json, from, LIST) {
        // Last, as it stands in canonical JSON.
        Some((key, value)) if json.get(value_end(json, value)?) == Some(&b'}') => {
            let before = json.get(from..key)?.trim_ascii_end();
            Some(Cow::Owned([before.strip_suffix(b",").unwrap_or(before), b"}"].concat()))
        }
        Some(_) => None,
        None => json.get(from..value_end(json, from)?).map(Cow::Borrowed),
    }
}

/// `apiVersion` and `kind` of canonical JSON, where they are plain.
pub fn type_of(json: &[u8]) -> Option<(&str, &str)> {
    let text = |name| {
        let (_, at) = member(json, blanks(json, 0), name)?;
        let text = json.get(at + 1..string_end(json, at)? - 1)?;
        (json.get(at) == Some(&b'"') && !text.contains(&b'\\')).then_some(())?;
        std::str::from_utf8(text).ok()
    };
    Some((text("apiVersion")?, text("kind")?))
}

/// Every entry's fields as JSON again.
pub fn unfold(v: &mut Value) {
    each(v, |fields| {
        if let Value::String(text) = fields {
            *fields = skiff_json::from_str(text).unwrap_or_default();
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
    Some(Place { key, value, end: value_end(json, value)? })
}

/// Where the key of an object's member begins, and its value.
fn member(json: &[u8], object: usize, name: &str) -> Option<(usize, usize)> {
    let mut at = object;
    (json.get(at) == Some(&b'{')).then_some(())?;
    loop {
        at = blanks(json, at + 1);
        let (key, value) = pair(json, at)?;
        if json.get(key.start + 1..key.end - 1)? == name.as_bytes() {
            return Some((key.start, value));
        }
        at = blanks(json, value_end(json, value)?);
        (json.get(at) == Some(&b',')).then_some(())?;
    }
}

/// The key that begins here, quotes and all, and where its value begins.
fn pair(json: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    (json.get(at) == Some(&b'"')).then_some(())?;
    let end = string_end(json, at)?;
    let colon = blanks(json, end);
    (json.get(colon) == Some(&b':')).then_some((at..end, blanks(json, colon + 1)))
}

fn blanks(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|b| b.is_ascii_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    const FULL: &str = r#"{"kind":"K","metadata":{"name":"a","generation":7,"annotations":{"managedFields":"[x]","b":"\"},{"},"managedFields":[{"manager":"m","fieldsV1":{"f:a":{"k:{\"x\":\"]\"}":{}},"f:b":{}},"time":"t"},{"manager":"n"}]},"spec":{"x":"]"}}"#;

    #[test]
    fn only_the_list_goes() {
        let cases = [
            (FULL, r#"{"kind":"K","metadata":{"name":"a","generation":7,"annotations":{"managedFields":"[x]","b":"\"},{"}},"spec":{"x":"]"}}"#),
            (r#"{"metadata":{"managedFields":[],"name":"a"}}"#, r#"{"metadata":{"name":"a"}}"#),
            (r#"{"metadata":{"managedFields":[{}]}}"#, r#"{"metadata":{}}"#),
            (
                r#" { "a" : [ 1 , true ] , "metadata" : { "managedFields" : [ { } ] , "name" : "a" } }"#,
                r#" { "a" : [ 1 , true ] , "metadata" : { "name" : "a" } }"#,
            ),
        ];
        for (json, wanted) in cases {
            assert_eq!(std::str::from_utf8(&unmanaged(json.as_bytes())).unwrap(), wanted);
        }
    }
    #[test]
    fn what_has_none_stays() {
        let spec = r#"{"metadata":{"name":"a"},"spec":{"metadata":{"managedFields":[1]},"managedFields":[2]}}"#;
        let cut = r#"{"metadata":{"managedFields":[{"a":"#;
        for json in [
            spec,
            cut,
            r#"{"metadata":{"managedFields":null}}"#,
            r#"{"metadata":[]}"#,
            r#"{"managedFields":[1]}"#,
            "",
            "{",
            "{}",
            "[1]",
            "}",
            r#"{"a"#,
            r#"{"a\"#,
            r#"{"a":1"#,
        ] {
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
    fn parts_of_an_object() {
        assert_eq!(type_of(FULL.as_bytes()), None);
        assert_eq!(type_of(br#"{"kind":"K","apiVersion":"v1","metadata":{}"#), Some(("v1", "K")));
        assert_eq!(type_of(br#"{"kind":"K\u0041","apiVersion":"v1"}"#), None);
        let metadata = r#"{"name":"a","generation":7,"annotations":{"managedFields":"[x]","b":"\"},{"}}"#;
        assert_eq!(&*bare_metadata(FULL.as_bytes()).unwrap(), metadata.as_bytes());
        assert_eq!(&*bare_metadata(br#"{"metadata":{"managedFields":[]},"a":1}"#).unwrap(), b"{}");
        assert_eq!(&*bare_metadata(br#"{"metadata":{"a":"}"},"a":1}"#).unwrap(), br#"{"a":"}"}"#);
        assert_eq!(bare_metadata(br#"{"metadata":{"managedFields":[],"a":1}}"#), None);
        assert_eq!(bare_metadata(b"{}"), None);
    }
    #[test]
    fn texts_of_others_are_no_fields() {
        let mut v = json!({"metadata": {"managedFields": [{"fieldsV1": "{}"}, {"fieldsV1": {}}, 1]}});
        distrust(&mut v);
        assert_eq!(v, json!({"metadata": {"managedFields": [{"fieldsV1": null}, {"fieldsV1": {}}, 1]}}));
    }
}
