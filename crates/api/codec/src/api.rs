//! The entry points for JSON.

use skiff_json::{Map, Value};
use skiff_schema::{Type, by_name};

use crate::error::DecodeError;
use crate::json::decode::Decoder;
use crate::json::scan::Scanner;
use crate::json::strict::Strict;
use crate::json::{settle, untyped, write};
use crate::limits::MAX_BODY;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A decoded object.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object in canonical form.
    pub object: Value,
    /// What strict field validation finds, such as `unknown field "spec.foo"`.
    pub strict: Vec<String>,
    /// Whether it has empty lists and maps that its canonical form leaves out.
    pub hollow: bool,
}

/// The type that a body claims to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeMeta {
    pub api_version: String,
    pub kind: String,
}

impl TypeMeta {
    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// API version without the group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(&self.api_version, |(_, version)| version)
    }
}

/// Reads `apiVersion` and `kind` of a JSON body; both are empty where the body has none.
pub fn type_meta(bytes: &[u8]) -> Result<TypeMeta, DecodeError> {
    let mut meta = TypeMeta::default();
    let mut scanner = Scanner::new(bytes);
    if scanner.peek() != Some(b'{') {
        let found = scanner.peek().map_or("null", word);
        scanner.skip()?;
        return match found {
            "null" => Ok(meta),
            other => Err(DecodeError::Syntax(format!("json: cannot unmarshal {other} into Go value of type {TYPE_META}"))),
        };
    }
    scanner.open()?;
    let mut first = true;
    while let Some(key) = scanner.next_key(first)? {
        first = false;
        let slot = match key.as_ref() {
            "apiVersion" => Some(&mut meta.api_version),
            "kind" => Some(&mut meta.kind),
            _ => None,
        };
        match (slot, scanner.peek()) {
            (Some(slot), Some(b'"')) => *slot = scanner.string()?,
            (Some(_), Some(other)) if word(other) != "null" => {
                return Err(DecodeError::Syntax(format!("json: cannot unmarshal {} into Go struct field .{key} of type string", word(other))));
            }
            _ => {
                scanner.skip()?;
            }
        }
    }
    Ok(meta)
}

/// The struct that upstream reads a body's kind into, as its errors print it.
const TYPE_META: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// What Go calls the value that begins with this byte.
fn word(first: u8) -> &'static str {
    match first {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "bool",
        b'n' => "null",
        _ => "number",
    }
}

/// Decodes a JSON body of a built-in type, as Go does. What is empty in an item of an atomic list stays until the object is
/// settled: it makes the list another one, whose owner changes.
pub fn decode_json(ty: &'static Type, bytes: &[u8]) -> Result<Decoded, DecodeError> {
    check_size(bytes)?;
    decode_unlimited(ty, bytes, true)
}

/// The same as [`decode_value`] for a value that is handed over: what can be is settled where it stands.
pub fn decode_owned(ty: &'static Type, mut value: Value) -> Result<Decoded, DecodeError> {
    if settle::object(ty, &mut value) {
        return Ok(Decoded { object: value, strict: Vec::new(), hollow: false });
    }
    decode_value(ty, &value)
}

/// Brings a value into canonical form where it stands. False: something in it is for [`decode_value`], to which what is
/// left of it means the same.
pub fn settle(ty: &'static Type, value: &mut Value) -> bool {
    settle::object(ty, value)
}

/// Brings a value into canonical form: what decoding its bytes would give.
pub fn decode_value(ty: &'static Type, value: &Value) -> Result<Decoded, DecodeError> {
    let mut bytes = Vec::new();
    write::raw(value, &mut bytes);
    decode_unlimited(ty, &bytes, false)
}

fn decode_unlimited(ty: &'static Type, bytes: &[u8], body: bool) -> Result<Decoded, DecodeError> {
    let mut scanner = Scanner::new(bytes);
    let mut strict = Strict::default();
    let mut decoder = Decoder::new(&mut strict).of_body(body);
    let object = decoder.root(ty, &mut scanner)?;
    let (fault, hollow) = (decoder.fault(), decoder.hollow());
    scanner.end()?;
    match fault {
        Some(text) => Err(DecodeError::Value(text)),
        None => Ok(Decoded { object, strict: strict.findings, hollow }),
    }
}

/// Decodes a JSON body of a custom resource: only its metadata has a table.
pub fn decode_custom_json(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    check_size(bytes)?;
    let mut scanner = Scanner::new(bytes);
    let mut strict = Strict::default();
    if scanner.peek() != Some(b'{') {
        scanner.skip()?;
        scanner.end()?;
        let text = "json: cannot unmarshal into Go value of type map[string]interface {}";
        return Err(DecodeError::Value(text.to_owned()));
    }
    let object = untyped::value(&mut scanner, Some(&mut strict))?;
    scanner.end()?;
    let Value::Object(mut object) = object else {
        return Ok(Decoded { object, strict: strict.findings, hollow: false });
    };
    if let Some(metadata) = object.get_mut("metadata") {
        *metadata = custom_metadata(metadata, &mut strict)?;
    }
    Ok(Decoded { object: Value::Object(object), strict: strict.findings, hollow: false })
}

/// Custom resources keep their metadata only as far as ObjectMeta describes it.
fn custom_metadata(metadata: &Value, strict: &mut Strict) -> Result<Value, DecodeError> {
    let Some(ty) = by_name(OBJECT_META) else { return Ok(metadata.clone()) };
    let mut bytes = Vec::new();
    write::raw(metadata, &mut bytes);
    let mark = strict.enter_key("metadata");
    let mut decoder = Decoder::new(strict);
    let decoded = decoder.root(ty, &mut Scanner::new(&bytes))?;
    let fault = decoder.fault();
    strict.leave(mark);
    match fault {
        Some(text) => Err(DecodeError::Value(text)),
        None => Ok(decoded),
    }
}

fn check_size(bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.len() > MAX_BODY {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    Ok(())
}

/// Canonical bytes of an object of a built-in type.
pub fn encode_json(ty: &Type, object: &Value) -> Vec<u8> {
    let empty = Map::new();
    let mut out = Vec::with_capacity(1024);
    write::object(ty, object.as_object().unwrap_or(&empty), &mut out);
    out
}

/// Canonical bytes of a custom resource: every object's keys are sorted.
pub fn encode_custom_json(object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write::untyped(object, &mut out);
    out
}
