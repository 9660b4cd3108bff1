//! Empty lists and maps of a request's body. Canonical JSON drops them; rules and their texts tell them from none all the
//! same, as Go's types do.
//!
//! Nothing here is kept: an object that has empty lists is shown to the rules with them, and stored without.
use crate::{registry::Context, table::Role};
use skiff_json::Value;

/// Whether the text may have an empty list.
pub(super) fn lists(json: &[u8]) -> bool {
    empties(json, b'[', b']')
}
/// Whether the text may have an empty map.
pub(super) fn maps(json: &[u8]) -> bool {
    empties(json, b'{', b'}')
}

/// Whether the text may have a schema's `items` that are none: Go keeps a pointer to nothing for what is no schema there.
pub(super) fn void_items(json: &[u8]) -> bool {
    const KEY: &[u8] = b"\"items\"";
    let mut rest = json;
    while let Some(at) = memchr::memmem::find(rest, KEY) {
        rest = rest.get(at + KEY.len()..).unwrap_or_default();
        let mut next = rest.iter().filter(|b| !b.is_ascii_whitespace());
        if next.next() == Some(&b':') && next.next().is_some_and(|b| !b"{[n".contains(b)) {
            return true;
        }
    }
    false
}

fn empties(json: &[u8], open: u8, close: u8) -> bool {
    let mut rest = json;
    while let Some(at) = memchr::memchr(open, rest) {
        rest = rest.get(at + 1..).unwrap_or_default();
        if rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&close) {
            return true;
        }
    }
    false
}

/// `v` with what the body has empty and `v` has not. None where the body is no object of the kind in the form worked in.
pub(super) fn refilled(ctx: &Context<'_>, v: &Value, role: Option<Role>) -> Option<Value> {
    let working = ctx.row.working(ctx.version());
    if working.version != ctx.version() || working.group != ctx.row.group || &*ctx.call.content_type != crate::shape::JSON {
        return None;
    }
    let body: Value = skiff_json::from_slice(&ctx.call.body).ok()?;
    if body.get("kind").is_some_and(|k| *k != *ctx.row.kind) {
        return None;
    }
    let mut filled = v.clone();
    for (key, part) in body.as_object()? {
        let written = match role {
            Some(Role::Status) => key == "status",
            _ => !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status"),
        };
        if written {
            refill(filled.as_object_mut()?, key, part);
        }
    }
    Some(filled)
}

fn hollow(v: &Value) -> bool {
    v.as_object().is_some_and(|m| m.is_empty()) || v.as_array().is_some_and(Vec::is_empty)
}

fn refill(into: &mut skiff_json::Map, key: &str, part: &Value) {
    match into.get_mut(key).filter(|v| !v.is_null()) {
        None if hollow(part) || (key == "items" && !part.is_null() && !part.is_object()) => drop(into.insert(key.to_owned(), part.clone())),
        None => {}
        Some(at) => fill(at, part),
    }
}

fn fill(at: &mut Value, part: &Value) {
    match (at, part) {
        (Value::Object(into), Value::Object(from)) => from.iter().for_each(|(k, v)| refill(into, k, v)),
        (Value::Array(into), Value::Array(from)) if into.len() == from.len() => into.iter_mut().zip(from).for_each(|(a, b)| fill(a, b)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn empties_are_seen() {
        for (text, list, map) in [(r#"{"a":[1]}"#, false, false), (r#"{"a":[ ]}"#, true, false), (r#"{"a":{}}"#, false, true), ("{", false, false)] {
            assert_eq!((lists(text.as_bytes()), maps(text.as_bytes())), (list, map), "{text}");
        }
    }

    #[test]
    fn items_that_are_none_are_seen() {
        for (text, want) in [
            (r#"{"items" : 7}"#, true),
            (r#"{"items":{}}"#, false),
            (r#"{"items":[]}"#, false),
            (r#"{"items":null}"#, false),
            (r#"["items",1]"#, false),
            (r#"{"items":{"items":"x"}}"#, true),
        ] {
            assert_eq!(void_items(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn what_was_empty_comes_back() {
        for (kept, sent, want) in [
            (json!({"a": 1}), json!({"a": 1, "l": [], "m": {}, "n": null}), json!({"a": 1, "l": [], "m": {}})),
            (json!({"c": [{"n": "x"}]}), json!({"c": [{"n": "x", "args": []}]}), json!({"c": [{"n": "x", "args": []}]})),
            (json!({"c": [{"n": "x"}]}), json!({"c": [{"n": "x"}, {"args": []}]}), json!({"c": [{"n": "x"}]})),
            (json!({"t": 1}), json!({"t": 1, "items": 7, "other": 7}), json!({"t": 1, "items": 7})),
            (json!({"l": null}), json!({"l": []}), json!({"l": []})),
            (json!({"l": [1]}), json!({"l": []}), json!({"l": [1]})),
        ] {
            let mut v = kept;
            fill(&mut v, &sent);
            assert_eq!(v, want);
        }
    }
}
