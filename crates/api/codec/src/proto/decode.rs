//! Protobuf to a canonical value.

use skiff_json::{Map, Value};
use skiff_meta::go;
use skiff_schema::{Kind, Ty, Type, by_gvk, by_name};

use super::wire::{Reader, WireValue};
use crate::api::TypeMeta;
use crate::error::DecodeError;
use crate::json::decode::{assemble, go_float};
use crate::json::scan::Scanner;
use crate::json::{base64, time, untyped, zero};
use crate::limits::{MAX_BODY, MAX_DEPTH};

/// First bytes of every protobuf body.
pub const MAGIC: &[u8] = b"k8s\0";

const JSON_SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// A decoded protobuf body.
#[derive(Debug, Clone)]
pub struct FromProtobuf {
    /// What the envelope says.
    pub type_meta: TypeMeta,
    pub ty: &'static Type,
    /// The object in canonical form.
    pub object: Value,
}

/// Whether bytes begin like a protobuf body.
pub fn is_protobuf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Decodes a body with its envelope. Where the envelope has no type, `expected` is taken.
pub fn decode_protobuf(bytes: &[u8], expected: Option<&TypeMeta>) -> Result<FromProtobuf, DecodeError> {
    if bytes.len() > MAX_BODY {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    decode_enveloped(bytes, expected, 0)
}

fn decode_enveloped(bytes: &[u8], expected: Option<&TypeMeta>, depth: usize) -> Result<FromProtobuf, DecodeError> {
    let no_magic = || DecodeError::Protobuf(format!("expected prefix {MAGIC:?}"));
    let body = bytes.strip_prefix(MAGIC).ok_or_else(no_magic)?;
    let (mut type_meta, raw) = unwrap_envelope(body).map_err(DecodeError::Protobuf)?;
    if let Some(expected) = expected {
        if type_meta.kind.is_empty() {
            type_meta.kind.clone_from(&expected.kind);
        }
        if type_meta.api_version.is_empty() {
            type_meta.api_version.clone_from(&expected.api_version);
        }
    }
    let ty = by_gvk(type_meta.group(), type_meta.version(), &type_meta.kind);
    let ty = ty.ok_or_else(|| DecodeError::UnknownKind { version: type_meta.api_version.clone(), kind: type_meta.kind.clone() })?;
    let mut object = message(ty, &[raw], depth).map_err(DecodeError::Protobuf)?;
    // The envelope carries what JSON has in the object itself; no decoded message holds it.
    if ty.is_kind {
        let mut typed = Map::with_capacity(object.len() + 2);
        typed.insert("kind".to_owned(), Value::String(type_meta.kind.clone()));
        typed.insert("apiVersion".to_owned(), Value::String(type_meta.api_version.clone()));
        typed.append(&mut object);
        object = typed;
    }
    Ok(FromProtobuf { type_meta, ty, object: Value::Object(object) })
}

fn unwrap_envelope(body: &[u8]) -> Result<(TypeMeta, &[u8]), String> {
    let mut type_meta = TypeMeta::default();
    let mut raw: &[u8] = &[];
    let mut reader = Reader::new(body);
    while let Some((tag, value)) = reader.next()? {
        match (tag, value) {
            (1, WireValue::Bytes(meta)) => {
                let mut reader = Reader::new(meta);
                while let Some((tag, value)) = reader.next()? {
                    match (tag, value) {
                        (1, WireValue::Bytes(text)) => type_meta.api_version = lossy(text),
                        (2, WireValue::Bytes(text)) => type_meta.kind = lossy(text),
                        _ => {}
                    }
                }
            }
            (2, WireValue::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    Ok((type_meta, raw))
}

/// Decodes a message; `parts` are its occurrences, which protobuf merges.
fn message(ty: &'static Type, parts: &[&[u8]], depth: usize) -> Result<Map, String> {
    if depth > MAX_DEPTH {
        return Err("exceeded max depth".to_owned());
    }
    let mut slots = Slots::new(ty, depth);
    for part in parts {
        slots.read(part, [0, 0])?;
    }
    slots.finish()
}

/// The fields of one message while it is read.
struct Slots<'a> {
    ty: &'static Type,
    depth: usize,
    values: Vec<Option<Value>>,
    /// Occurrences of single message fields, merged at the end.
    nested: Vec<Vec<&'a [u8]>>,
}

impl<'a> Slots<'a> {
    fn new(ty: &'static Type, depth: usize) -> Self {
        let mut values = Vec::new();
        values.resize_with(ty.fields.len(), || None);
        Self { ty, depth, values, nested: vec![Vec::new(); ty.fields.len()] }
    }

    fn read(&mut self, bytes: &'a [u8], via: [u8; 2]) -> Result<(), String> {
        let mut reader = Reader::new(bytes);
        while let Some((tag, value)) = reader.next()? {
            let index = self.ty.fields.iter().position(|f| u32::from(f.tag) == tag && f.via == via);
            match (index, value) {
                (Some(index), value) => self.field(index, value)?,
                (None, WireValue::Bytes(inner)) => {
                    let deeper = match via {
                        [0, _] => [u8::try_from(tag).unwrap_or(0), 0],
                        [outer, 0] => [outer, u8::try_from(tag).unwrap_or(0)],
                        _ => continue,
                    };
                    let known = self.ty.fields.iter().any(|f| match via {
                        [0, _] => f.via[0] == deeper[0],
                        _ => f.via == deeper,
                    });
                    if deeper[0] != 0 && deeper != via && known {
                        self.read(inner, deeper)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn field(&mut self, index: usize, wire: WireValue<'a>) -> Result<(), String> {
        let (Some(field), Some(slot), Some(nested)) = (self.ty.fields.get(index), self.values.get_mut(index), self.nested.get_mut(index)) else {
            return Ok(());
        };
        let bad = |error: String| format!("{}.{}: {error}", self.ty.short_name(), field.name);
        match (field.ty.kind, wire) {
            (Kind::Ref(_), WireValue::Bytes(bytes)) => nested.push(bytes),
            (Kind::List(item), WireValue::Bytes(bytes)) if field.ty.boxed => {
                let boxed = boxed_list(item, bytes, self.depth + 1).map_err(bad)?;
                *slot = Some(boxed);
            }
            (Kind::List(item), wire) => {
                let list = slot.get_or_insert_with(|| Value::Array(Vec::new()));
                append(item, wire, self.depth + 1, list).map_err(bad)?;
            }
            (Kind::Map(map), WireValue::Bytes(bytes)) => {
                let object = slot.get_or_insert_with(|| Value::Object(Map::new()));
                let (key, value) = entry(&map.value, bytes, self.depth + 1).map_err(bad)?;
                if let Value::Object(object) = object {
                    object.insert(key, value);
                }
            }
            (_, wire) => *slot = Some(value(&field.ty, wire, self.depth + 1).map_err(bad)?),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Map, String> {
        let fields = self.ty.fields.iter();
        for ((field, slot), parts) in fields.zip(&mut self.values).zip(&self.nested) {
            if let (Kind::Ref(inner), false) = (field.ty.kind, parts.is_empty()) {
                *slot = Some(Value::Object(message(inner, parts, self.depth + 1)?));
            }
            if let Some(Value::Object(map)) = slot {
                let sorts = matches!(field.ty.kind, Kind::Map(_));
                if sorts && !map.keys().is_sorted() {
                    map.sort_keys();
                }
            }
        }
        Ok(assemble(self.ty, self.values))
    }
}

/// Appends to a list: packed numbers come many at once.
fn append(item: &'static Ty, wire: WireValue<'_>, depth: usize, list: &mut Value) -> Result<(), String> {
    let Value::Array(items) = list else { return Ok(()) };
    let packs = matches!(item.kind, Kind::Int32 | Kind::Int64 | Kind::Bool);
    if let (true, WireValue::Bytes(mut packed)) = (packs, wire) {
        while !packed.is_empty() {
            let end = packed.iter().position(|b| *b < 0x80).ok_or("unexpected EOF")? + 1;
            let (head, rest) = packed.split_at(end);
            let mut number = 0u64;
            for (index, byte) in head.iter().take(10).enumerate() {
                number |= u64::from(byte & 0x7f) << (7 * index);
            }
            items.push(value(item, WireValue::Varint(number), depth)?);
            packed = rest;
        }
        return Ok(());
    }
    items.push(value(item, wire, depth)?);
    Ok(())
}

fn boxed_list(item: &'static Ty, bytes: &[u8], depth: usize) -> Result<Value, String> {
    let mut list = Value::Array(Vec::new());
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.next()? {
        if tag == 1 {
            append(item, wire, depth, &mut list)?;
        }
    }
    Ok(list)
}

fn entry(item: &'static Ty, bytes: &[u8], depth: usize) -> Result<(String, Value), String> {
    let (mut key, mut inner) = (String::new(), None);
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.next()? {
        match (tag, wire) {
            (1, WireValue::Bytes(text)) => key = lossy(text),
            (2, wire) => inner = Some(value(item, wire, depth)?),
            _ => {}
        }
    }
    Ok((key, inner.unwrap_or_else(|| zero::zero(item))))
}

fn value(ty: &'static Ty, wire: WireValue<'_>, depth: usize) -> Result<Value, String> {
    match (ty.kind, wire) {
        (Kind::String, WireValue::Bytes(text)) => Ok(Value::String(lossy(text))),
        (Kind::Bytes, WireValue::Bytes(bytes)) => Ok(Value::String(base64::encode(bytes))),
        (Kind::Bool, WireValue::Varint(number)) => Ok(Value::Bool(number != 0)),
        (Kind::Int32, WireValue::Varint(number)) => Ok(Value::from(number as i32)),
        (Kind::Int64, WireValue::Varint(number)) => Ok(Value::from(number as i64)),
        (Kind::Float64, WireValue::Fixed64(bits)) => {
            let float = f64::from_bits(bits);
            if float.is_finite() { Ok(go_float(float)) } else { Err("a number is not finite".to_owned()) }
        }
        (Kind::Ref(inner), WireValue::Bytes(bytes)) => message(inner, &[bytes], depth).map(Value::Object),
        (Kind::List(item), WireValue::Bytes(bytes)) if ty.boxed => boxed_list(item, bytes, depth),
        (kind, WireValue::Bytes(bytes)) => special(kind, bytes, depth),
        (_, wire) => Err(format!("unexpected {wire:?}")),
    }
}

fn special(kind: Kind, bytes: &[u8], depth: usize) -> Result<Value, String> {
    let fields = Fields::read(bytes)?;
    match kind {
        Kind::Quantity => {
            let text = fields.text(1);
            let text = if text.is_empty() { "0" } else { &text };
            Ok(Value::String(skiff_meta::spelled(text).map_err(|e| e.to_string())?.into_owned()))
        }
        Kind::IntOrString if fields.int(1) == 1 => Ok(Value::String(fields.text(3))),
        Kind::IntOrString => Ok(Value::from(fields.int(2) as i32)),
        Kind::Time | Kind::MicroTime => instant(kind, &fields),
        Kind::Duration => Ok(Value::String(go::format_duration(fields.int(1)))),
        Kind::RawExtension | Kind::FieldsV1 | Kind::Json => match fields.bytes(1) {
            None => Ok(Value::Null),
            Some([]) => Ok(Value::Null),
            Some(raw) if is_protobuf(raw) => {
                if depth > MAX_DEPTH {
                    return Err("exceeded max depth".to_owned());
                }
                decode_enveloped(raw, None, depth + 1).map(|d| d.object).map_err(|e| e.to_string())
            }
            Some(raw) => json(raw),
        },
        Kind::SchemaOrBool => match fields.bytes(2) {
            Some(schema) => self::schema(schema, depth),
            None => Ok(Value::Bool(fields.int(1) != 0)),
        },
        Kind::SchemaOrArray | Kind::SchemaOrStrings => either(kind, &fields, depth),
        other => Err(format!("{other:?} does not stand in a message of its own")),
    }
}

fn instant(kind: Kind, fields: &Fields<'_>) -> Result<Value, String> {
    const LATEST: i64 = 253_402_300_799; // 9999-12-31T23:59:59Z
    if fields.0.is_empty() {
        return Ok(Value::Null);
    }
    let seconds = fields.int(1);
    if !(time::ZERO_SECONDS..=LATEST).contains(&seconds) {
        return Err("a time is out of range".to_owned());
    }
    let nanos = u32::try_from(fields.int(2)).unwrap_or(0).min(999_999_999);
    let instant = time::Instant { seconds, nanos };
    Ok(match kind {
        _ if instant.is_zero() => Value::Null,
        Kind::Time => Value::String(instant.rfc3339()),
        _ => Value::String(instant.rfc3339_micro()),
    })
}

fn either(kind: Kind, fields: &Fields<'_>, depth: usize) -> Result<Value, String> {
    if let Some(schema) = fields.bytes(1) {
        return self::schema(schema, depth);
    }
    let parts = fields.0.iter().filter(|(tag, _)| *tag == 2);
    let items = parts.map(|(_, wire)| match (kind, wire) {
        (Kind::SchemaOrArray, WireValue::Bytes(bytes)) => self::schema(bytes, depth),
        (_, WireValue::Bytes(text)) => Ok(Value::String(lossy(text))),
        (_, other) => Err(format!("unexpected {other:?}")),
    });
    let items: Vec<Value> = items.collect::<Result<_, _>>()?;
    Ok(if items.is_empty() { Value::Null } else { Value::Array(items) })
}

fn schema(bytes: &[u8], depth: usize) -> Result<Value, String> {
    let ty = by_name(JSON_SCHEMA_PROPS).ok_or("no table for JSONSchemaProps")?;
    message(ty, &[bytes], depth + 1).map(Value::Object)
}

fn json(raw: &[u8]) -> Result<Value, String> {
    let mut scanner = Scanner::new(raw);
    let value = untyped::value(&mut scanner, None).map_err(|e| e.to_string())?;
    scanner.end().map_err(|e| e.to_string())?;
    Ok(value)
}

/// The fields of a small message.
struct Fields<'a>(Vec<(u32, WireValue<'a>)>);

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut fields = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next()? {
            fields.push(field);
        }
        Ok(Self(fields))
    }

    fn int(&self, tag: u32) -> i64 {
        let found = self.0.iter().rev().find_map(|(t, wire)| match wire {
            WireValue::Varint(number) if *t == tag => Some(*number as i64),
            _ => None,
        });
        found.unwrap_or(0)
    }

    fn bytes(&self, tag: u32) -> Option<&'a [u8]> {
        self.0.iter().rev().find_map(|(t, wire)| match wire {
            WireValue::Bytes(bytes) if *t == tag => Some(*bytes),
            _ => None,
        })
    }

    fn text(&self, tag: u32) -> String {
        lossy(self.bytes(tag).unwrap_or_default())
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
