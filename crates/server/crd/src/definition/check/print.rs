//! Versions of a definition as errors print them: upstream's inner types, every field by its Go name.
use skiff_json::{Map, Value, json};
use skiff_validation::{Json, shown};

/// What a field of a schema is in Go.
#[derive(Clone, Copy)]
enum Is {
    Text,
    Flag,
    /// A pointer, a list or plain JSON: null when it is not there.
    Value,
    Schema,
    Schemas,
    Named,
    SchemaOrBool,
    Items,
    Rules,
    Documentation,
}

/// In Go's order: its name, the name in JSON.
const FIELDS: [(&str, &str, Is); 44] = [
    ("ID", "id", Is::Text),
    ("Schema", "$schema", Is::Text),
    ("Ref", "$ref", Is::Value),
    ("Description", "description", Is::Text),
    ("Type", "type", Is::Text),
    ("Nullable", "nullable", Is::Flag),
    ("Format", "format", Is::Text),
    ("Title", "title", Is::Text),
    ("Default", "default", Is::Value),
    ("Maximum", "maximum", Is::Value),
    ("ExclusiveMaximum", "exclusiveMaximum", Is::Flag),
    ("Minimum", "minimum", Is::Value),
    ("ExclusiveMinimum", "exclusiveMinimum", Is::Flag),
    ("MaxLength", "maxLength", Is::Value),
    ("MinLength", "minLength", Is::Value),
    ("Pattern", "pattern", Is::Text),
    ("MaxItems", "maxItems", Is::Value),
    ("MinItems", "minItems", Is::Value),
    ("UniqueItems", "uniqueItems", Is::Flag),
    ("MultipleOf", "multipleOf", Is::Value),
    ("Enum", "enum", Is::Value),
    ("MaxProperties", "maxProperties", Is::Value),
    ("MinProperties", "minProperties", Is::Value),
    ("Required", "required", Is::Value),
    ("Items", "items", Is::Items),
    ("AllOf", "allOf", Is::Schemas),
    ("OneOf", "oneOf", Is::Schemas),
    ("AnyOf", "anyOf", Is::Schemas),
    ("Not", "not", Is::Schema),
    ("Properties", "properties", Is::Named),
    ("AdditionalProperties", "additionalProperties", Is::SchemaOrBool),
    ("PatternProperties", "patternProperties", Is::Named),
    ("Dependencies", "dependencies", Is::Value),
    ("AdditionalItems", "additionalItems", Is::SchemaOrBool),
    ("Definitions", "definitions", Is::Named),
    ("ExternalDocs", "externalDocs", Is::Documentation),
    ("Example", "example", Is::Value),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", Is::Value),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", Is::Flag),
    ("XIntOrString", "x-kubernetes-int-or-string", Is::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Is::Value),
    ("XListType", "x-kubernetes-list-type", Is::Value),
    ("XMapType", "x-kubernetes-map-type", Is::Value),
    ("XValidations", "x-kubernetes-validations", Is::Rules),
];

fn text(v: &Value, key: &str) -> Value {
    v.get(key).and_then(Value::as_str).unwrap_or_default().into()
}
fn flag(v: &Value, key: &str) -> Value {
    v.get(key).and_then(Value::as_bool).unwrap_or_default().into()
}
fn each(v: &Value, of: impl Fn(&Value) -> Value) -> Value {
    v.as_array().map_or(Value::Null, |all| all.iter().map(of).collect::<Vec<_>>().into())
}

fn schema(v: &Value) -> Value {
    if !v.is_object() {
        return Value::Null;
    }
    let of = |key: &str, is: Is| {
        let f = &v[key];
        match is {
            Is::Text => text(v, key),
            Is::Flag => flag(v, key),
            Is::Value => f.clone(),
            Is::Schema => schema(f),
            Is::Schemas => each(f, schema),
            Is::Named => f.as_object().map_or(Value::Null, |m| m.iter().map(|(k, v)| (k.clone(), schema(v))).collect::<Map>().into()),
            Is::SchemaOrBool if f.is_null() => Value::Null,
            Is::SchemaOrBool => json!({"Allows": f.is_object() || *f == true, "Schema": schema(f)}),
            Is::Items if f.is_null() => Value::Null,
            Is::Items => json!({"Schema": schema(f), "JSONSchemas": each(f, schema)}),
            Is::Rules => each(
                f,
                |r| json!({"Rule": text(r, "rule"), "Message": text(r, "message"), "MessageExpression": text(r, "messageExpression"), "Reason": r["reason"], "FieldPath": text(r, "fieldPath"), "OptionalOldSelf": r["optionalOldSelf"]}),
            ),
            Is::Documentation if f.is_null() => Value::Null,
            Is::Documentation => json!({"Description": text(f, "description"), "URL": text(f, "url")}),
        }
    };
    FIELDS.iter().map(|(go, key, is)| ((*go).to_owned(), of(key, *is))).collect::<Map>().into()
}

fn subresources(v: &Value) -> Value {
    if v.is_null() {
        return Value::Null;
    }
    let scale = &v["scale"];
    let scale = if scale.is_null() {
        Value::Null
    } else {
        json!({"SpecReplicasPath": text(scale, "specReplicasPath"), "StatusReplicasPath": text(scale, "statusReplicasPath"), "LabelSelectorPath": scale["labelSelectorPath"]})
    };
    json!({"Status": v["status"], "Scale": scale})
}

fn column(c: &Value) -> Value {
    json!({"Name": text(c, "name"), "Type": text(c, "type"), "Format": text(c, "format"), "Description": text(c, "description"), "Priority": c["priority"].as_i64().unwrap_or_default(), "JSONPath": text(c, "jsonPath")})
}

/// The versions; `top` says which parts stand above them because all have the same.
pub fn versions(all: &[Value], top: impl Fn(&str) -> bool) -> Json {
    let part = |v: &Value, key: &str, of: fn(&Value) -> Value| if top(key) { Value::Null } else { of(&v[key]) };
    let all: Vec<Value> = all
        .iter()
        .map(|v| {
            json!({"Name": text(v, "name"), "Served": flag(v, "served"), "Storage": flag(v, "storage"), "Deprecated": flag(v, "deprecated"), "DeprecationWarning": v["deprecationWarning"],
                "Schema": part(v, "schema", |s| if s.is_null() { Value::Null } else { json!({"OpenAPIV3Schema": schema(&s["openAPIV3Schema"])}) }),
                "Subresources": part(v, "subresources", subresources),
                "AdditionalPrinterColumns": part(v, "additionalPrinterColumns", |c| each(c, column)),
                "SelectableFields": part(v, "selectableFields", |f| each(f, |f| json!({"JSONPath": text(f, "jsonPath")})))})
        })
        .collect();
    Json(shown(&all.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_validation::Show;

    #[test]
    fn as_go_prints_them() {
        let of = |v: Value, top: bool| versions(&[v], |_| top).shown().unwrap();
        let v = json!({"name": "v1", "served": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}, "x-kubernetes-validations": [{"rule": "self.n < 1"}]}}, "selectableFields": [{"jsonPath": ".a"}]});
        assert_eq!(
            of(v.clone(), true),
            r#"[{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}]"#
        );
        let text = of(v, false);
        for part in [
            r#""Schema":{"OpenAPIV3Schema":{"ID":"","Schema":"","Ref":null,"Description":"","Type":"object","Nullable":false,"#,
            r#""Items":{"Schema":{"ID":"","#,
            r#""JSONSchemas":null}"#,
            r#""XValidations":[{"Rule":"self.n \u003c 1","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}]}},"Subresources":null,"#,
            r#""SelectableFields":[{"JSONPath":".a"}]}]"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
