//! An OpenAPI v2 document as protobuf (`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`).
//!
//! client-go asks for this form alone. The messages are those of the gnostic project's openapi.v2; the parts that no
//! Kubernetes document uses (OAuth, XML, files, examples) are left out.

use skiff_json::{Map, Value};

use super::wire::{put_bytes, put_double, put_int, put_nested};

type Object = Map;

/// How a member of a JSON object stands in its message.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Text,
    Texts,
    Flag,
    Whole,
    Double,
    /// Any value, as text.
    Any,
    /// A list of any values.
    Anys,
    /// A message made of the value.
    One(fn(&Value, &mut Vec<u8>)),
    /// A message for each value of a list.
    Each(fn(&Value, &mut Vec<u8>)),
    /// A message that holds a name and a message for each member.
    Named(fn(&Value, &mut Vec<u8>)),
}

/// JSON name, field number, form.
pub(super) type Member = (&'static str, u32, Form);

const DOCUMENT: &[Member] = &[
    ("swagger", 1, Form::Text),
    ("info", 2, Form::One(info)),
    ("host", 3, Form::Text),
    ("basePath", 4, Form::Text),
    ("schemes", 5, Form::Texts),
    ("consumes", 6, Form::Texts),
    ("produces", 7, Form::Texts),
    ("paths", 8, Form::One(paths)),
    ("definitions", 9, Form::Named(schema)),
    ("parameters", 10, Form::Named(parameter)),
    ("responses", 11, Form::Named(response)),
    ("security", 12, Form::Each(requirement)),
    ("securityDefinitions", 13, Form::Named(security)),
];

const SCHEMA: &[Member] = &[
    ("$ref", 1, Form::Text),
    ("format", 2, Form::Text),
    ("title", 3, Form::Text),
    ("description", 4, Form::Text),
    ("default", 5, Form::Any),
    ("multipleOf", 6, Form::Double),
    ("maximum", 7, Form::Double),
    ("exclusiveMaximum", 8, Form::Flag),
    ("minimum", 9, Form::Double),
    ("exclusiveMinimum", 10, Form::Flag),
    ("maxLength", 11, Form::Whole),
    ("minLength", 12, Form::Whole),
    ("pattern", 13, Form::Text),
    ("maxItems", 14, Form::Whole),
    ("minItems", 15, Form::Whole),
    ("uniqueItems", 16, Form::Flag),
    ("maxProperties", 17, Form::Whole),
    ("minProperties", 18, Form::Whole),
    ("required", 19, Form::Texts),
    ("enum", 20, Form::Anys),
    ("additionalProperties", 21, Form::One(additional)),
    ("type", 22, Form::One(type_item)),
    ("items", 23, Form::One(items)),
    ("allOf", 24, Form::Each(schema)),
    ("properties", 25, Form::Named(schema)),
    ("discriminator", 26, Form::Text),
    ("readOnly", 27, Form::Flag),
    ("externalDocs", 29, Form::One(external_docs)),
    ("example", 30, Form::Any),
];

const OPERATION: &[Member] = &[
    ("tags", 1, Form::Texts),
    ("summary", 2, Form::Text),
    ("description", 3, Form::Text),
    ("operationId", 5, Form::Text),
    ("produces", 6, Form::Texts),
    ("consumes", 7, Form::Texts),
    ("parameters", 8, Form::Each(parameter_item)),
    ("responses", 9, Form::One(responses)),
    ("schemes", 10, Form::Texts),
    ("deprecated", 11, Form::Flag),
    ("security", 12, Form::Each(requirement)),
];

const PATH_ITEM: &[Member] = &[
    ("$ref", 1, Form::Text),
    ("get", 2, Form::One(operation)),
    ("put", 3, Form::One(operation)),
    ("post", 4, Form::One(operation)),
    ("delete", 5, Form::One(operation)),
    ("options", 6, Form::One(operation)),
    ("head", 7, Form::One(operation)),
    ("patch", 8, Form::One(operation)),
    ("parameters", 9, Form::Each(parameter_item)),
];

const BODY_PARAMETER: &[Member] =
    &[("description", 1, Form::Text), ("name", 2, Form::Text), ("in", 3, Form::Text), ("required", 4, Form::Flag), ("schema", 5, Form::One(schema))];

const QUERY_PARAMETER: &[Member] = &[
    ("required", 1, Form::Flag),
    ("in", 2, Form::Text),
    ("description", 3, Form::Text),
    ("name", 4, Form::Text),
    ("allowEmptyValue", 5, Form::Flag),
    ("type", 6, Form::Text),
    ("format", 7, Form::Text),
    ("collectionFormat", 9, Form::Text),
    ("default", 10, Form::Any),
    ("pattern", 17, Form::Text),
    ("uniqueItems", 20, Form::Flag),
    ("enum", 21, Form::Anys),
];

/// Header parameters have the same numbers.
const PATH_PARAMETER: &[Member] = &[
    ("required", 1, Form::Flag),
    ("in", 2, Form::Text),
    ("description", 3, Form::Text),
    ("name", 4, Form::Text),
    ("type", 5, Form::Text),
    ("format", 6, Form::Text),
    ("collectionFormat", 8, Form::Text),
    ("default", 9, Form::Any),
    ("pattern", 16, Form::Text),
    ("uniqueItems", 19, Form::Flag),
    ("enum", 20, Form::Anys),
];

/// Encodes a document.
pub fn openapi_v2_to_protobuf(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    members(document, DOCUMENT, 16, &mut out);
    out
}

/// Writes the members of a table, then the `x-` members under the field number `extensions`.
pub(super) fn members(value: &Value, table: &[Member], extensions: u32, out: &mut Vec<u8>) {
    let Value::Object(object) = value else { return };
    for (name, tag, form) in table {
        if let Some(value) = object.get(name) {
            member(*tag, *form, value, out);
        }
    }
    for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
        nested(extensions, out, |out| {
            put_bytes(1, name.as_bytes(), out);
            nested(2, out, |out| any(value, out));
        });
    }
}

fn member(tag: u32, form: Form, value: &Value, out: &mut Vec<u8>) {
    match (form, value) {
        (Form::Text, Value::String(text)) => put_bytes(tag, text.as_bytes(), out),
        (Form::Texts, Value::Array(items)) => texts(tag, items, out),
        (Form::Flag, Value::Bool(true)) => put_int(tag, 1, out),
        (Form::Whole, Value::Number(number)) => put_int(tag, number.as_i64().unwrap_or(0), out),
        (Form::Double, Value::Number(number)) => {
            put_double(tag, number.as_f64().unwrap_or(0.0), out);
        }
        (Form::Any, value) => nested(tag, out, |out| any(value, out)),
        (Form::Anys, Value::Array(items)) => {
            items.iter().for_each(|item| nested(tag, out, |out| any(item, out)));
        }
        (Form::One(write), value) => nested(tag, out, |out| write(value, out)),
        (Form::Each(write), Value::Array(items)) => {
            items.iter().for_each(|item| nested(tag, out, |out| write(item, out)));
        }
        (Form::Named(write), Value::Object(object)) => {
            nested(tag, out, |out| named(1, object, write, out));
        }
        _ => {}
    }
}

pub(super) fn nested(tag: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let done: Result<(), std::convert::Infallible> = put_nested(tag, out, |out| {
        write(out);
        Ok(())
    });
    match done {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

pub(super) fn named(tag: u32, object: &Object, write: fn(&Value, &mut Vec<u8>), out: &mut Vec<u8>) {
    for (name, value) in object {
        nested(tag, out, |out| {
            put_bytes(1, name.as_bytes(), out);
            nested(2, out, |out| write(value, out));
        });
    }
}

fn texts(tag: u32, items: &[Value], out: &mut Vec<u8>) {
    for text in items.iter().filter_map(Value::as_str) {
        put_bytes(tag, text.as_bytes(), out);
    }
}

/// Any value stands as YAML text, of which JSON is a part.
fn any(value: &Value, out: &mut Vec<u8>) {
    put_bytes(2, format!("{value}\n").as_bytes(), out);
}

fn info(value: &Value, out: &mut Vec<u8>) {
    const INFO: &[Member] = &[("title", 1, Form::Text), ("version", 2, Form::Text), ("description", 3, Form::Text), ("termsOfService", 4, Form::Text)];
    members(value, INFO, 7, out);
}

fn paths(value: &Value, out: &mut Vec<u8>) {
    if let Value::Object(object) = value {
        named(2, object, path_item, out);
    }
}

fn path_item(value: &Value, out: &mut Vec<u8>) {
    members(value, PATH_ITEM, 10, out);
}

fn operation(value: &Value, out: &mut Vec<u8>) {
    members(value, OPERATION, 13, out);
}

fn schema(value: &Value, out: &mut Vec<u8>) {
    members(value, SCHEMA, 31, out);
}

fn additional(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(flag) => put_int(2, i64::from(*flag), out),
        value => nested(1, out, |out| schema(value, out)),
    }
}

fn type_item(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => put_bytes(1, text.as_bytes(), out),
        Value::Array(items) => texts(1, items, out),
        _ => {}
    }
}

fn items(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| nested(1, out, |out| schema(item, out)));
        }
        value => nested(1, out, |out| schema(value, out)),
    }
}

fn external_docs(value: &Value, out: &mut Vec<u8>) {
    members(value, &[("description", 1, Form::Text), ("url", 2, Form::Text)], 3, out);
}

/// A parameter in place, or a reference to one.
fn parameter_item(value: &Value, out: &mut Vec<u8>) {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => nested(2, out, |out| put_bytes(1, reference.as_bytes(), out)),
        None => nested(1, out, |out| parameter(value, out)),
    }
}

fn parameter(value: &Value, out: &mut Vec<u8>) {
    let place = value.get("in").and_then(Value::as_str).unwrap_or_default();
    match place {
        "body" => nested(1, out, |out| members(value, BODY_PARAMETER, 6, out)),
        "header" => nested(2, out, |out| {
            nested(1, out, |out| members(value, PATH_PARAMETER, 22, out));
        }),
        "path" => nested(2, out, |out| {
            nested(4, out, |out| members(value, PATH_PARAMETER, 22, out));
        }),
        _ => nested(2, out, |out| {
            nested(3, out, |out| members(value, QUERY_PARAMETER, 23, out));
        }),
    }
}

fn responses(value: &Value, out: &mut Vec<u8>) {
    if let Value::Object(object) = value {
        named(1, object, response_value, out);
    }
}

fn response_value(value: &Value, out: &mut Vec<u8>) {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => nested(2, out, |out| put_bytes(1, reference.as_bytes(), out)),
        None => nested(1, out, |out| response(value, out)),
    }
}

fn response(value: &Value, out: &mut Vec<u8>) {
    const RESPONSE: &[Member] = &[("description", 1, Form::Text), ("schema", 2, Form::One(|value, out| nested(1, out, |out| schema(value, out))))];
    members(value, RESPONSE, 5, out);
}

fn requirement(value: &Value, out: &mut Vec<u8>) {
    if let Value::Object(object) = value {
        let scopes = |value: &Value, out: &mut Vec<u8>| {
            texts(1, value.as_array().map_or(&[], Vec::as_slice), out);
        };
        named(1, object, scopes, out);
    }
}

/// Of the kinds of authentication only API keys (which bearer tokens count as) are used.
fn security(value: &Value, out: &mut Vec<u8>) {
    const API_KEY: &[Member] = &[("type", 1, Form::Text), ("name", 2, Form::Text), ("in", 3, Form::Text), ("description", 4, Form::Text)];
    nested(2, out, |out| members(value, API_KEY, 5, out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn a_small_document() {
        let document = json!({
            "swagger": "2.0",
            "definitions": {"A": {"type": "object", "properties": {"b": {"$ref": "#/definitions/B"}}, "x-k": ["v"]}},
        });
        let bytes = openapi_v2_to_protobuf(&document);
        assert!(bytes.starts_with(b"\x0a\x032.0\x4a"), "swagger is field 1, definitions are field 9");
        let text = String::from_utf8_lossy(&bytes);
        for part in ["2.0", "object", "#/definitions/B", "x-k", "[\"v\"]\n"] {
            assert!(text.contains(part), "{part}");
        }
    }
}
