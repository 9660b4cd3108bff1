//! Values with a decoder of their own in Go: quantities, times, either-or types, raw JSON.

use skiff_json::Value;
use skiff_meta::go;
use skiff_schema::{Kind, by_name};

use super::decode::{Decoder, Mistake};
use super::scan::Scanner;
use super::strict::Strict;
use super::{time, untyped};
use crate::error::DecodeError;

const JSON_SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// What went wrong in a value's own decoder.
pub enum Fault {
    /// The text is no JSON.
    Syntax(DecodeError),
    /// A JSON value of the wrong type: what it is, and Go's name of what it should be.
    Type(String, &'static str),
    /// What a part's own decoder found.
    Inside(Mistake),
    /// Any other text.
    Text(String),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Syntax(error)
    }
}

/// Whether Go decodes the kind by a method of its own.
pub fn is_special(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Quantity
            | Kind::IntOrString
            | Kind::Time
            | Kind::MicroTime
            | Kind::Duration
            | Kind::RawExtension
            | Kind::FieldsV1
            | Kind::Json
            | Kind::SchemaOrArray
            | Kind::SchemaOrBool
            | Kind::SchemaOrStrings
    )
}

/// Decodes such a value; null stands for Go's zero.
pub fn decode(kind: Kind, scanner: &mut Scanner<'_>) -> Result<Value, Fault> {
    match kind {
        Kind::Quantity => quantity(scanner),
        Kind::IntOrString => int_or_string(scanner),
        Kind::Time => go_time(scanner, |text| {
            let instant = time::parse_time(text)?;
            Ok((!instant.is_zero()).then(|| instant.rfc3339()))
        }),
        Kind::MicroTime => go_time(scanner, |text| {
            let instant = time::parse_micro_time(text)?;
            Ok((!instant.is_zero()).then(|| instant.rfc3339_micro()))
        }),
        Kind::Duration => go_duration(scanner),
        Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings => either(kind, scanner),
        _ => Ok(untyped::value(scanner, None)?),
    }
}

fn quantity(scanner: &mut Scanner<'_>) -> Result<Value, Fault> {
    let text = match scanner.peek() {
        Some(b'n') => {
            scanner.word()?;
            return Ok(Value::Null);
        }
        Some(b'"') => scanner.string()?,
        _ => String::from_utf8_lossy(scanner.skip()?).into_owned(),
    };
    let spelling = skiff_meta::spelled(text.trim()).map_err(|e| Fault::Text(e.to_string()))?;
    Ok(Value::String(spelling.into_owned()))
}

fn int_or_string(scanner: &mut Scanner<'_>) -> Result<Value, Fault> {
    match scanner.peek() {
        Some(b'"') => Ok(Value::String(scanner.string()?)),
        Some(b'-' | b'0'..=b'9') => {
            let text = scanner.number()?;
            match text.parse::<i32>() {
                Ok(whole) => Ok(Value::from(whole)),
                Err(_) => Err(Fault::Type(format!("number {text}"), "int32")),
            }
        }
        Some(b'n') => {
            scanner.word()?;
            Ok(Value::Null)
        }
        _ => Err(wrong(scanner, "int32")?),
    }
}

/// Skips a value of the wrong type and says what it is.
fn wrong(scanner: &mut Scanner<'_>, wanted: &'static str) -> Result<Fault, DecodeError> {
    let what = what_is(scanner.peek());
    scanner.skip()?;
    Ok(Fault::Type(what.to_owned(), wanted))
}

/// Go's word for a JSON value that begins with this byte.
pub fn what_is(first: Option<u8>) -> &'static str {
    match first {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        _ => "number",
    }
}

fn go_time(scanner: &mut Scanner<'_>, parse: impl Fn(&str) -> Result<Option<String>, String>) -> Result<Value, Fault> {
    match scanner.peek() {
        Some(b'n') => {
            scanner.word()?;
            Ok(Value::Null)
        }
        Some(b'"') => {
            let text = scanner.string()?;
            let rendered = parse(&text).map_err(Fault::Text)?;
            Ok(rendered.map_or(Value::Null, Value::String))
        }
        _ => Err(wrong(scanner, "string")?),
    }
}

fn go_duration(scanner: &mut Scanner<'_>) -> Result<Value, Fault> {
    let text = match scanner.peek() {
        Some(b'"') => scanner.string()?,
        Some(b'n') => {
            scanner.word()?;
            String::new()
        }
        _ => return Err(wrong(scanner, "string")?),
    };
    let nanos = go::parse_duration(&text).map_err(Fault::Text)?;
    Ok(Value::String(go::format_duration(nanos)))
}

/// The either-or types of apiextensions: a schema, or something simpler.
fn either(kind: Kind, scanner: &mut Scanner<'_>) -> Result<Value, Fault> {
    match (kind, scanner.peek()) {
        (_, Some(b'{')) => schema(scanner),
        (Kind::SchemaOrArray, Some(b'[')) => {
            scanner.open()?;
            let mut items = Vec::new();
            while scanner.next_element(items.is_empty())? {
                items.push(schema(scanner)?);
            }
            Ok(Value::Array(items))
        }
        (Kind::SchemaOrBool, Some(b't' | b'f')) => Ok(untyped::value(scanner, None)?),
        (Kind::SchemaOrStrings, Some(b'[')) => Ok(untyped::value(scanner, None)?),
        (Kind::SchemaOrBool, _) => Err(Fault::Text("boolean or JSON schema expected".to_owned())),
        _ => {
            scanner.skip()?;
            Ok(Value::Null)
        }
    }
}

fn schema(scanner: &mut Scanner<'_>) -> Result<Value, Fault> {
    let ty = by_name(JSON_SCHEMA_PROPS).ok_or_else(|| Fault::Text(format!("no table for {JSON_SCHEMA_PROPS}")))?;
    let mut strict = Strict::default();
    let mut decoder = Decoder::new(&mut strict);
    let value = decoder.root(ty, scanner)?;
    match decoder.mistake() {
        Some(mistake) => Err(Fault::Inside(mistake)),
        None => Ok(value),
    }
}
