//! Objects against their schema: what is wrong with them, in upstream's words.

mod embedded;
mod failure;
pub mod format;
mod number;
mod walk;

pub use embedded::check as check_embedded;
pub use failure::{Failure, Kind, Outcome, place};
pub use walk::{Before, check as check_schema, type_of};

use crate::{
    cel,
    rows::{Compiled, Scale},
    schema,
};
use skiff_json::Value;
use skiff_meta::Cause;
use skiff_meta::value::at;

/// Errors of an object, or of a change of it through the object's endpoint or a subresource.
pub fn check(c: &Compiled, subresource: &str, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let status = subresource == "status";
    let mut causes = if status { status_only(c, new, old) } else { whole(c, new, old) };
    if let Some(s) = &c.scale {
        if !status {
            replicas(new, &s.desired, &mut causes);
        }
        replicas(new, &s.current, &mut causes);
        selector(new, s, &mut causes);
    }
    if !status {
        causes.extend(check_embedded(new, &c.schema, "", false));
    }
    // Lists that were wrong before may stay so.
    if old.is_none_or(|o| schema::check_lists(o, &c.schema).is_empty()) {
        causes.extend(schema::check_lists(new, &c.schema));
    }
    if !c.rules.is_empty() {
        match cel::blocked(&causes) {
            Some(why) => causes.push(why),
            None => causes.extend(c.rules.check(new, &c.schema, old, "", true)),
        }
    }
    causes
}

fn told(out: Outcome, base: &str) -> Vec<Cause> {
    out.failures.into_iter().map(|f| f.cause(base)).collect()
}

fn whole(c: &Compiled, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let before = old.map(|value| Before { value, schema: &c.schema });
    told(check_schema(new, &c.schema, before, ""), "")
}

/// A status is checked by its own part of the schema.
fn status_only(c: &Compiled, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let (Some(v), Some(s)) = (new.get("status"), c.schema.properties.get("status")) else { return Vec::new() };
    let before = old.and_then(|o| o.get("status")).map(|value| Before { value, schema: s });
    told(check_schema(v, s, before, ""), "status")
}

fn invalid(field: &str, value: &Value, why: &str) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {}: {why}", skiff_validation::shown(value)), field: field.into() }
}

fn dotted(path: &str) -> &str {
    path.strip_prefix('.').unwrap_or(path)
}

/// A count of replicas, where there is one.
fn replicas(v: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(found) = at(v, dotted(path)) else { return };
    let why = match found.as_i64() {
        None => return causes.push(invalid(path, &0.into(), &mistyped(dotted(path), found, "int64"))),
        Some(n) if n < 0 => "should be a non-negative integer".to_owned(),
        Some(n) if n > i64::from(i32::MAX) => format!("should be less than or equal to {}", i32::MAX),
        Some(_) => return,
    };
    causes.push(invalid(path, found, &why));
}

fn selector(v: &Value, s: &Scale, causes: &mut Vec<Cause>) {
    if let Some(found) = at(v, dotted(&s.selector)).filter(|f| !f.is_string()) {
        causes.push(invalid(&s.selector, &"".into(), &mistyped(dotted(&s.selector), found, "string")));
    }
}

fn mistyped(path: &str, found: &Value, wanted: &str) -> String {
    let go = match found {
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Number(n) if n.is_i64() => "int64",
        _ => "float64",
    };
    let shown = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    format!(".{path} accessor error: {shown} is of the type {go}, expected {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn compiled(schema: Value) -> Compiled {
        Compiled::read(json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}).to_string().as_bytes(), "v1")
    }
    fn told(schema: Value, new: Value, old: Option<Value>) -> Vec<String> {
        check(&compiled(schema), "", &new, old.as_ref()).into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }
    fn spec(property: Value) -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": property}}}})
    }

    #[test]
    fn errors_have_upstreams_words() {
        let cases = [
            (json!({"type": "integer"}), json!("a"), r#"spec.x: Invalid value: "string": spec.x in body must be of type integer: "string""#),
            (json!({"type": "integer", "minimum": 3}), json!(1), "spec.x: Invalid value: 1: spec.x in body should be greater than or equal to 3"),
            (
                json!({"type": "number", "maximum": 1.5, "exclusiveMaximum": true}),
                json!(1.5),
                "spec.x: Invalid value: 1.5: spec.x in body should be less than 1.5",
            ),
            (json!({"type": "integer", "multipleOf": 5}), json!(7), "spec.x: Invalid value: 7: spec.x in body should be a multiple of 5"),
            (
                json!({"type": "integer", "format": "int32"}),
                json!(3_000_000_000_i64),
                r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.x"#,
            ),
            (json!({"type": "string", "maxLength": 2}), json!("abc"), "spec.x: Too long: may not be more than 2 bytes"),
            (json!({"type": "string", "minLength": 2}), json!("a"), r#"spec.x: Invalid value: "a": spec.x in body should be at least 2 chars long"#),
            (json!({"type": "string", "pattern": "^a+$"}), json!("b"), r#"spec.x: Invalid value: "b": spec.x in body should match '^a+$'"#),
            (json!({"type": "string", "enum": ["a", "b"]}), json!("c"), r#"spec.x: Unsupported value: "c": supported values: "a", "b""#),
            (json!({"type": "string", "format": "date"}), json!("x"), r#"spec.x: Invalid value: "x": spec.x in body must be of type date: "x""#),
            (json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}), json!(["a", "b"]), "spec.x: Too many: 2: must have at most 1 item"),
            (json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}), json!({}), "spec.x.a: Required value"),
            (json!({"type": "string"}), json!(null), r#"spec.x: Invalid value: "null": spec.x in body must be of type string: "null""#),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!(true),
                r#"spec.x: Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean""#,
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "integer"}}),
                json!({"k": "v"}),
                r#"spec.x.k: Invalid value: "string": spec.x.k in body must be of type integer: "string""#,
            ),
            (json!({"type": "integer", "not": {"enum": [1]}}), json!(1), r#"<nil>: Invalid value: "": "spec.x" must not validate the schema (not)"#),
        ];
        for (property, value, want) in cases {
            assert_eq!(told(spec(property.clone()), json!({"spec": {"x": value}}), None), [want], "{property}");
        }
    }

    #[test]
    fn alternatives() {
        let s = spec(
            json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
        );
        assert_eq!(told(s.clone(), json!({"spec": {"x": {"a": "1"}}}), None), Vec::<String>::new());
        assert_eq!(
            told(s.clone(), json!({"spec": {"x": {"a": "1", "b": "2"}}}), None),
            [r#"<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found 2 valid alternatives"#]
        );
        assert_eq!(told(s, json!({"spec": {"x": {}}}), None).len(), 2);
    }

    #[test]
    fn what_did_not_change_may_stay() {
        let s = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "x": {"type": "string", "maxLength": 1}, "y": {"type": "string"}, "l": {"type": "array", "items": {"type": "string", "maxLength": 1}}}}}});
        let old = json!({"spec": {"x": "abc", "l": ["abc"]}});
        assert_eq!(told(s.clone(), json!({"spec": {"x": "abc", "l": ["abc"], "y": "new"}}), Some(old.clone())), Vec::<String>::new());
        assert_eq!(told(s, json!({"spec": {"x": "abd", "l": ["abc", "d"]}}), Some(old)).len(), 2);
    }
}
