//! A schema as OpenAPI documents show it.
//!
//! Version 3 shows it whole. Version 2 has no words for some of it: junctors, nullable and extensions that open a schema
//! are left out there, and what they touch is left open, as upstream does it for clients that check by version 2.
use super::compiled::Compiled;
use serde_json::{Map, Value, json};
use skiff_meta::GroupVersionKind;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

pub fn schema(kind: &GroupVersionKind, c: &Compiled, v3: bool) -> Value {
    let mut s = if c.raw.is_object() { if v3 { c.raw.clone() } else { version_2(&c.raw) } } else { json!({"type": "object"}) };
    let open = c.schema.preserve_unknown && (!v3 || c.schema.properties.is_empty());
    if let Value::Object(m) = &mut s {
        if open {
            m.shift_remove("properties");
            m.insert("type".into(), "object".into());
        }
        let properties = m.entry("properties").or_insert_with(|| json!({}));
        if let Value::Object(p) = properties {
            identity(p, v3);
        }
        let gvk = json!([{"group": kind.group, "kind": kind.kind, "version": kind.version}]);
        m.insert("x-kubernetes-group-version-kind".into(), gvk);
    }
    s
}

/// What every object has.
fn identity(properties: &mut Map<String, Value>, v3: bool) {
    let texts = [
        ("apiVersion", "Names the version of the schema that the object is written in."),
        ("kind", "Names the resource that the object is of, in CamelCase."),
    ];
    for (key, text) in texts {
        properties.insert(key.into(), json!({"description": text, "type": "string"}));
    }
    let prefix = if v3 { "#/components/schemas/" } else { "#/definitions/" };
    let reference = json!({"$ref": format!("{prefix}{OBJECT_META}")});
    let text = "Standard object's metadata.";
    let metadata = if v3 { json!({"description": text, "allOf": [reference], "default": {}}) } else { json!({"description": text, "$ref": reference["$ref"]}) };
    properties.insert("metadata".into(), metadata);
}

/// The part of a schema that version 2 can say.
fn version_2(s: &Value) -> Value {
    let Some(m) = s.as_object() else { return s.clone() };
    let flag = |k: &str| m.get(k) == Some(&Value::Bool(true));
    let (nullable, either, open) = (flag("nullable"), flag("x-kubernetes-int-or-string"), flag("x-kubernetes-preserve-unknown-fields"));
    let mut out = Map::new();
    for (k, v) in m {
        match k.as_str() {
            "oneOf" | "anyOf" | "allOf" | "not" | "nullable" => {}
            // What may be null, or of two types, has no type there.
            "type" | "items" | "properties" | "additionalProperties" | "format" if nullable || either => {}
            // Clients take a type for the whole truth.
            "items" | "properties" | "additionalProperties" if open => {}
            "type" if open => {
                out.insert(k.clone(), v.clone());
            }
            "properties" => {
                let properties = v.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), version_2(v)));
                out.insert(k.clone(), Value::Object(properties.collect()));
            }
            "items" | "additionalProperties" => {
                out.insert(k.clone(), version_2(v));
            }
            _ => {
                out.insert(k.clone(), v.clone());
            }
        }
    }
    Value::Object(out)
}
