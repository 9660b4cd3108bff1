//! An OpenAPI v3 document as protobuf (`application/com.github.proto-openapi.spec.v3.v1.0+protobuf`).
//!
//! The messages are those of the gnostic project's openapi.v3; the parts that no Kubernetes document uses (servers,
//! links, callbacks, examples, OAuth, XML) are left out.

use skiff_json::Value;

use super::openapi::{Form, Member, members, named, nested};
use super::wire::{put_bytes, put_double, put_int};

const DOCUMENT: &[Member] = &[
    ("openapi", 1, Form::Text),
    ("info", 2, Form::One(info)),
    ("paths", 4, Form::One(paths)),
    ("components", 5, Form::One(components)),
    ("externalDocs", 8, Form::One(external_docs)),
];

const SCHEMA: &[Member] = &[
    ("nullable", 1, Form::Flag),
    ("readOnly", 3, Form::Flag),
    ("writeOnly", 4, Form::Flag),
    ("externalDocs", 6, Form::One(external_docs)),
    ("example", 7, Form::Any),
    ("deprecated", 8, Form::Flag),
    ("title", 9, Form::Text),
    ("multipleOf", 10, Form::Double),
    ("maximum", 11, Form::Double),
    ("exclusiveMaximum", 12, Form::Flag),
    ("minimum", 13, Form::Double),
    ("exclusiveMinimum", 14, Form::Flag),
    ("maxLength", 15, Form::Whole),
    ("minLength", 16, Form::Whole),
    ("pattern", 17, Form::Text),
    ("maxItems", 18, Form::Whole),
    ("minItems", 19, Form::Whole),
    ("uniqueItems", 20, Form::Flag),
    ("maxProperties", 21, Form::Whole),
    ("minProperties", 22, Form::Whole),
    ("required", 23, Form::Texts),
    ("enum", 24, Form::Anys),
    ("type", 25, Form::Text),
    ("allOf", 26, Form::Each(schema_item)),
    ("oneOf", 27, Form::Each(schema_item)),
    ("anyOf", 28, Form::Each(schema_item)),
    ("not", 29, Form::One(schema)),
    ("items", 30, Form::One(items)),
    ("properties", 31, Form::Named(schema_item)),
    ("additionalProperties", 32, Form::One(additional)),
    ("default", 33, Form::One(default)),
    ("description", 34, Form::Text),
    ("format", 35, Form::Text),
];

const OPERATION: &[Member] = &[
    ("tags", 1, Form::Texts),
    ("summary", 2, Form::Text),
    ("description", 3, Form::Text),
    ("externalDocs", 4, Form::One(external_docs)),
    ("operationId", 5, Form::Text),
    ("parameters", 6, Form::Each(parameter_item)),
    ("requestBody", 7, Form::One(body_item)),
    ("responses", 8, Form::One(responses)),
    ("deprecated", 10, Form::Flag),
];

const PATH_ITEM: &[Member] = &[
    ("$ref", 1, Form::Text),
    ("summary", 2, Form::Text),
    ("description", 3, Form::Text),
    ("get", 4, Form::One(operation)),
    ("put", 5, Form::One(operation)),
    ("post", 6, Form::One(operation)),
    ("delete", 7, Form::One(operation)),
    ("options", 8, Form::One(operation)),
    ("head", 9, Form::One(operation)),
    ("patch", 10, Form::One(operation)),
    ("trace", 11, Form::One(operation)),
    ("parameters", 13, Form::Each(parameter_item)),
];

const PARAMETER: &[Member] = &[
    ("name", 1, Form::Text),
    ("in", 2, Form::Text),
    ("description", 3, Form::Text),
    ("required", 4, Form::Flag),
    ("deprecated", 5, Form::Flag),
    ("allowEmptyValue", 6, Form::Flag),
    ("style", 7, Form::Text),
    ("explode", 8, Form::Flag),
    ("allowReserved", 9, Form::Flag),
    ("schema", 10, Form::One(schema_item)),
    ("example", 11, Form::Any),
    ("content", 13, Form::Named(media)),
];

/// Encodes a document.
pub fn openapi_v3_to_protobuf(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    members(document, DOCUMENT, 9, &mut out);
    out
}

fn info(value: &Value, out: &mut Vec<u8>) {
    const INFO: &[Member] =
        &[("title", 1, Form::Text), ("description", 2, Form::Text), ("termsOfService", 3, Form::Text), ("version", 6, Form::Text), ("summary", 8, Form::Text)];
    members(value, INFO, 7, out);
}

fn external_docs(value: &Value, out: &mut Vec<u8>) {
    members(value, &[("description", 1, Form::Text), ("url", 2, Form::Text)], 3, out);
}

fn paths(value: &Value, out: &mut Vec<u8>) {
    if let Value::Object(object) = value {
        named(1, object, |v, out| members(v, PATH_ITEM, 14, out), out);
    }
}

fn components(value: &Value, out: &mut Vec<u8>) {
    const COMPONENTS: &[Member] = &[("schemas", 1, Form::Named(schema_item)), ("securitySchemes", 7, Form::Named(security))];
    members(value, COMPONENTS, 10, out);
}

fn operation(value: &Value, out: &mut Vec<u8>) {
    members(value, OPERATION, 13, out);
}

fn schema(value: &Value, out: &mut Vec<u8>) {
    members(value, SCHEMA, 36, out);
}

/// What stands in place is field 1, a reference field 2: so in all messages of this sort.
fn item(value: &Value, write: fn(&Value, &mut Vec<u8>), out: &mut Vec<u8>) {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => nested(2, out, |out| put_bytes(1, reference.as_bytes(), out)),
        None => nested(1, out, |out| write(value, out)),
    }
}

fn schema_item(value: &Value, out: &mut Vec<u8>) {
    item(value, schema, out);
}

fn items(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| nested(1, out, |out| schema_item(one, out))),
        one => nested(1, out, |out| schema_item(one, out)),
    }
}

fn additional(value: &Value, out: &mut Vec<u8>) {
    match value {
        // A choice is told even where it is false.
        Value::Bool(flag) => put_int(2, i64::from(*flag), out),
        value => nested(1, out, |out| schema_item(value, out)),
    }
}

/// Objects and lists have no place in the message: they leave it empty.
fn default(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(n) => put_double(1, n.as_f64().unwrap_or(0.0), out),
        Value::Bool(flag) => put_int(2, i64::from(*flag), out),
        Value::String(text) => put_bytes(3, text.as_bytes(), out),
        _ => {}
    }
}

fn parameter_item(value: &Value, out: &mut Vec<u8>) {
    item(value, |v, out| members(v, PARAMETER, 14, out), out);
}

fn media(value: &Value, out: &mut Vec<u8>) {
    members(value, &[("schema", 1, Form::One(schema_item)), ("example", 2, Form::Any)], 5, out);
}

fn body_item(value: &Value, out: &mut Vec<u8>) {
    const BODY: &[Member] = &[("description", 1, Form::Text), ("content", 2, Form::Named(media)), ("required", 3, Form::Flag)];
    item(value, |v, out| members(v, BODY, 4, out), out);
}

fn responses(value: &Value, out: &mut Vec<u8>) {
    let Value::Object(object) = value else { return };
    if let Some(one) = object.get("default") {
        nested(1, out, |out| response_item(one, out));
    }
    for (code, one) in object.iter().filter(|(code, _)| *code != "default") {
        nested(2, out, |out| {
            put_bytes(1, code.as_bytes(), out);
            nested(2, out, |out| response_item(one, out));
        });
    }
}

fn response_item(value: &Value, out: &mut Vec<u8>) {
    item(value, |v, out| members(v, &[("description", 1, Form::Text), ("content", 3, Form::Named(media))], 5, out), out);
}

fn security(value: &Value, out: &mut Vec<u8>) {
    const SCHEME: &[Member] = &[
        ("type", 1, Form::Text),
        ("description", 2, Form::Text),
        ("name", 3, Form::Text),
        ("in", 4, Form::Text),
        ("scheme", 5, Form::Text),
        ("bearerFormat", 6, Form::Text),
        ("openIdConnectUrl", 8, Form::Text),
    ];
    item(value, |v, out| members(v, SCHEME, 9, out), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn a_small_document() {
        for (document, bytes) in [
            (json!({"openapi": "3.0.0"}), b"\x0a\x053.0.0".to_vec()),
            (json!({"info": {"title": "K", "version": "1"}}), b"\x12\x06\x0a\x01K\x32\x011".to_vec()),
            (json!({"components": {"schemas": {"A": {"$ref": "B"}}}}), b"\x2a\x0e\x0a\x0c\x0a\x0a\x0a\x01A\x12\x05\x12\x03\x0a\x01B".to_vec()),
            (json!({"components": {"schemas": {"A": {"type": "x"}}}}), b"\x2a\x0f\x0a\x0d\x0a\x0b\x0a\x01A\x12\x06\x0a\x04\xca\x01\x01x".to_vec()),
        ] {
            assert_eq!(openapi_v3_to_protobuf(&document), bytes, "{document}");
        }
    }
}
