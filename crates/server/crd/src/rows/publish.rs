//! A schema as OpenAPI documents show it.
//!
//! Version 3 shows it whole. Version 2 has no words for some of it: junctors and nullable are left out there, and what
//! may be null or have unknown fields is left open, since clients that check by version 2 would refuse it.
use super::compiled::Compiled;
use skiff_json::{Map, Value, json};
use skiff_registry::shape::Published;

pub fn schema(c: &Compiled, v3: bool) -> Published {
    let selectable = c.selectable.keys().cloned().collect();
    if !c.raw.is_object() || (!v3 && c.schema.preserve_unknown) {
        return Published { schema: json!({"type": "object"}), open: true, selectable };
    }
    let schema = if v3 { version_3(c.raw.clone()) } else { version_2(&c.raw) };
    Published { schema, open: false, selectable }
}

/// What an int-or-string is, is said in so many words.
fn version_3(mut s: Value) -> Value {
    let Value::Object(m) = &mut s else { return s };
    if m.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) && !m.contains_key("anyOf") && !m.contains_key("allOf") {
        m.insert("anyOf", json!([{"type": "integer"}, {"type": "string"}]));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = m.get_mut(key) {
            *below = version_3(below.take());
        }
    }
    if let Some(Value::Object(p)) = m.get_mut("properties") {
        p.values_mut().for_each(|v| *v = version_3(v.take()));
    }
    s
}

/// The part of a schema that version 2 can say.
fn version_2(s: &Value) -> Value {
    let Value::Object(m) = s else { return s.clone() };
    let flag = |k: &str| m.get(k) == Some(&Value::Bool(true));
    let (nullable, open) = (flag("nullable"), flag("x-kubernetes-preserve-unknown-fields"));
    let mut out = Map::new();
    for (k, v) in m {
        match (k.as_str(), v) {
            ("oneOf" | "anyOf" | "allOf" | "not" | "nullable", _) => {}
            ("type" | "items" | "properties", _) if nullable => {}
            ("items" | "properties", _) if open => {}
            ("properties", Value::Object(p)) => {
                out.insert(k.clone(), Value::Object(p.iter().map(|(k, v)| (k.clone(), version_2(v))).collect()));
            }
            ("items" | "additionalProperties", v) => {
                out.insert(k.clone(), version_2(v));
            }
            _ => {
                out.insert(k.clone(), v.clone());
            }
        }
    }
    // An array without items and an open object have no type there.
    let kind = m.get("type").and_then(Value::as_str).unwrap_or_default();
    if (kind == "array" && !out.contains_key("items")) || (kind == "object" && open) {
        out.shift_remove("type");
    }
    required(m, &mut out);
    Value::Object(out)
}

/// What may be null is not required.
fn required(m: &Map, out: &mut Map) {
    let nullable = |v: &Value| v.get("nullable") == Some(&Value::Bool(true));
    let properties = m.get("properties").and_then(Value::as_object);
    let mut left: Vec<Value> = out.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    left.retain(|k| !properties.and_then(|p| p.get(k.as_str()?)).is_some_and(nullable));
    if left.is_empty() || m.get("additionalProperties").is_some_and(nullable) {
        out.shift_remove("required");
    } else {
        out.insert("required", left.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn version_3_spells_out_what_is_either() {
        let s = json!({"type": "object", "properties": {"i": {"x-kubernetes-int-or-string": true}}});
        assert_eq!(version_3(s)["properties"]["i"]["anyOf"], json!([{"type": "integer"}, {"type": "string"}]));
    }
    #[test]
    fn version_2_leaves_open_what_it_cannot_say() {
        let s = json!({"type": "object", "required": ["n", "a"], "properties": {
            "n": {"type": "object", "nullable": true, "properties": {"x": {"type": "string"}}},
            "a": {"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": {"type": "string"}},
            "i": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}});
        assert_eq!(
            version_2(&s),
            json!({"type": "object", "required": ["a"], "properties": {
            "n": {}, "a": {"x-kubernetes-preserve-unknown-fields": true}, "i": {"x-kubernetes-int-or-string": true}}})
        );
    }
}
