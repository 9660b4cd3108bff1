//! Canonical JSON bytes to protobuf, in one pass over the bytes.
//!
//! Fields come in JSON's order, and each field of an embedded struct brings its own wrapper: protobuf decoders merge
//! repeated occurrences of a message, so this means the same as upstream's order.

use skiff_meta::go;
use skiff_schema::{Field, Kind, Ty, Type, by_name};

use super::decode::MAGIC;
use super::wire::{put_bytes, put_double, put_int, put_length, put_long, put_nested, varint_size};
use crate::error::DecodeError;
use crate::json::scan::Scanner;
use crate::json::{base64, time};

const JSON_SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Fields of a message that is taken to be longer than 127 bytes.
const LONG: usize = 7;

type Result<T> = std::result::Result<T, DecodeError>;

/// Encodes an object with the envelope that `application/vnd.kubernetes.protobuf` has.
pub fn encode_protobuf(ty: &Type, api_version: &str, kind: &str, json: &[u8]) -> Result<Vec<u8>> {
    let mut raw = Vec::with_capacity(json.len());
    encode_message(ty, json, &mut raw)?;
    Ok(envelope(api_version, kind, &raw))
}

/// Wraps a message: the magic bytes, then a runtime.Unknown with the type and the raw bytes.
pub fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = envelope_head(api_version, kind, raw.len() + ENVELOPE_END.len());
    put_bytes(2, raw, &mut out);
    out.extend_from_slice(ENVELOPE_END);
    out
}

/// Encoding and type of the raw bytes, which stay empty: fields 3 and 4 of a runtime.Unknown.
const ENVELOPE_END: &[u8] = &[3 << 3 | 2, 0, 4 << 3 | 2, 0];

/// The envelope before its raw bytes, with room for so many more.
fn envelope_head(api_version: &str, kind: &str, more: usize) -> Vec<u8> {
    let mut meta = Vec::with_capacity(api_version.len() + kind.len() + 4);
    put_bytes(1, api_version.as_bytes(), &mut meta);
    put_bytes(2, kind.as_bytes(), &mut meta);
    let mut out = Vec::with_capacity(more + meta.len() + 24);
    out.extend_from_slice(MAGIC);
    put_bytes(1, &meta, &mut out);
    out
}

/// Appends an object as a bare message.
pub fn encode_message(ty: &Type, json: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut scanner = Scanner::new(json);
    message(ty, &mut scanner, out)?;
    scanner.end()
}

/// A list in protobuf, made item by item from stored bytes.
pub struct ProtobufList<'a> {
    api_version: &'a str,
    kind: &'a str,
    item: &'static Type,
    /// What is done, each of at least `size` bytes.
    done: Vec<Vec<u8>>,
    size: usize,
    raw: Vec<u8>,
}

impl<'a> ProtobufList<'a> {
    /// Begins a list of a list kind such as `PodList`; `metadata` is its ListMeta as JSON. It is made in pieces of some
    /// `piece` bytes, so that long lists need no long allocations and go piece by piece.
    pub fn new(list: &'static Type, api_version: &'a str, kind: &'a str, metadata: &[u8], piece: usize) -> Result<Self> {
        let unknown = || DecodeError::UnknownKind { version: api_version.to_owned(), kind: kind.to_owned() };
        let item = list.list_item().ok_or_else(unknown)?;
        let meta = list.field("metadata").and_then(|f| f.ty.struct_type()).ok_or_else(unknown)?;
        let mut raw = Vec::new();
        put_nested(1, &mut raw, |out| encode_message(meta, metadata, out))?;
        Ok(Self { api_version, kind, item, done: Vec::new(), size: piece, raw })
    }

    /// Appends one item.
    pub fn push(&mut self, json: &[u8]) -> Result<()> {
        let item = self.item;
        put_long(2, &mut self.raw, |out| encode_message(item, json, out))?;
        if self.raw.len() >= self.size {
            // The next one is about as long.
            let next = Vec::with_capacity(self.raw.len() + self.raw.len() / 8);
            self.done.push(std::mem::replace(&mut self.raw, next));
        }
        Ok(())
    }

    /// The pieces of the whole answer, in its envelope.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        let length = self.done.iter().map(Vec::len).sum::<usize>() + self.raw.len();
        let mut head = envelope_head(self.api_version, self.kind, 0);
        put_length(2, length, &mut head);
        self.raw.extend_from_slice(ENVELOPE_END);
        self.done.insert(0, head);
        self.done.push(self.raw);
        self.done
    }
}

fn message(ty: &Type, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    if scanner.peek() != Some(b'{') {
        scanner.pass()?;
        return Ok(());
    }
    scanner.open()?;
    let mut first = true;
    let mut next = 0;
    while let Some(key) = scanner.quick_key(first)? {
        first = false;
        // Canonical bytes have the fields in the table's order.
        let ahead = ty.fields.iter().skip(next).position(|f| f.name.as_bytes() == &*key);
        let index = ahead.map(|at| next + at).or_else(|| ty.field_index(std::str::from_utf8(&key).ok()?));
        next = index.map_or(next, |index| index + 1);
        match index.and_then(|index| ty.fields.get(index)) {
            Some(field) if field.tag != 0 => embedded(field, scanner, out)?,
            _ => {
                scanner.pass()?;
            }
        }
    }
    Ok(())
}

/// A field inside the messages that embed it.
fn embedded(field: &Field, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    match field.via {
        [0, _] => value(&field.ty, u32::from(field.tag), scanner, out),
        [outer, 0] => put_nested(u32::from(outer), out, |out| value(&field.ty, u32::from(field.tag), scanner, out)),
        [outer, inner] => {
            put_nested(u32::from(outer), out, |out| put_nested(u32::from(inner), out, |out| value(&field.ty, u32::from(field.tag), scanner, out)))
        }
    }
}

fn value(ty: &Ty, tag: u32, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    if scanner.peek() == Some(b'n') && !matches!(ty.kind, Kind::Json) {
        scanner.word()?;
        return Ok(());
    }
    match ty.kind {
        Kind::List(item) if ty.boxed => put_nested(tag, out, |out| list(item, 1, scanner, out)),
        Kind::List(item) => list(item, tag, scanner, out),
        Kind::Map(map) => entries(&map.value, tag, scanner, out),
        // What has many fields is seldom short.
        Kind::Ref(inner) if inner.fields.len() > LONG => put_long(tag, out, |out| message(inner, scanner, out)),
        Kind::Ref(inner) => put_nested(tag, out, |out| message(inner, scanner, out)),
        _ => scalar_value(ty.kind, tag, scanner, out),
    }
}

fn list(item: &Ty, tag: u32, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    expect(scanner, b'[', "a list")?;
    scanner.open()?;
    let mut first = true;
    while scanner.next_element(first)? {
        first = false;
        value(item, tag, scanner, out)?;
    }
    Ok(())
}

fn entries(item: &Ty, tag: u32, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    expect(scanner, b'{', "an object")?;
    scanner.open()?;
    let mut first = true;
    while let Some(key) = scanner.quick_key(first)? {
        first = false;
        put_nested(tag, out, |out| {
            put_bytes(1, &key, out);
            value(item, 2, scanner, out)
        })?;
    }
    Ok(())
}

fn scalar_value(kind: Kind, tag: u32, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    match kind {
        Kind::String => {
            expect(scanner, b'"', "a string")?;
            put_bytes(tag, &scanner.quick_text()?, out);
        }
        Kind::Bytes => {
            let bytes = base64::decode(&text(scanner)?).map_err(DecodeError::Value)?;
            put_bytes(tag, &bytes, out);
        }
        Kind::Bool => put_int(tag, i64::from(scanner.word()? == "true"), out),
        Kind::Int32 | Kind::Int64 => put_int(tag, whole(scanner)?, out),
        Kind::Float64 => {
            let float = scanner.number()?.parse().map_err(|_| wrong("a number"))?;
            put_double(tag, float, out);
        }
        Kind::Quantity => quantity(tag, scanner, out)?,
        Kind::IntOrString => int_or_string(tag, scanner, out)?,
        Kind::Time | Kind::MicroTime => {
            let instant = time::parse_time(&text(scanner)?).map_err(DecodeError::Value)?;
            put_nested(tag, out, |out| {
                put_int(1, instant.seconds, out);
                put_int(2, i64::from(instant.nanos), out);
                Ok(())
            })?;
        }
        Kind::Duration => {
            let nanos = go::parse_duration(&text(scanner)?).map_err(DecodeError::Value)?;
            put_nested(tag, out, |out| {
                put_int(1, nanos, out);
                Ok(())
            })?;
        }
        Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings => {
            either(kind, tag, scanner, out)?;
        }
        _ => {
            let raw = scanner.pass()?;
            put_length(tag, 1 + varint_size(raw.len() as u64) + raw.len(), out);
            put_bytes(1, raw, out);
        }
    }
    Ok(())
}

fn quantity(tag: u32, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    // Canonical bytes have it as a string in canonical form.
    let canonical = match scanner.peek() {
        Some(b'"') => text(scanner)?,
        _ => String::from_utf8_lossy(scanner.skip()?),
    };
    put_nested(tag, out, |out| {
        put_bytes(1, canonical.as_bytes(), out);
        Ok(())
    })
}

fn int_or_string(tag: u32, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    put_nested(tag, out, |out| {
        if scanner.peek() == Some(b'"') {
            put_int(1, 1, out);
            put_int(2, 0, out);
            put_bytes(3, text(scanner)?.as_bytes(), out);
        } else {
            put_int(1, 0, out);
            put_int(2, whole(scanner)?, out);
            put_bytes(3, b"", out);
        }
        Ok(())
    })
}

fn either(kind: Kind, tag: u32, scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<()> {
    let schema = by_name(JSON_SCHEMA_PROPS).ok_or_else(|| wrong("a schema"))?;
    // JSONSchemaPropsOrBool has its flag in field 1 and the schema in field 2.
    let schema_tag = if matches!(kind, Kind::SchemaOrBool) { 2 } else { 1 };
    put_nested(tag, out, |out| match scanner.peek() {
        Some(b'{') => {
            if matches!(kind, Kind::SchemaOrBool) {
                put_int(1, 1, out);
            }
            put_nested(schema_tag, out, |out| message(schema, scanner, out))
        }
        Some(b'[') if matches!(kind, Kind::SchemaOrStrings) => list(&STRING, 2, scanner, out),
        Some(b'[') => {
            scanner.open()?;
            let mut first = true;
            while scanner.next_element(first)? {
                first = false;
                put_nested(2, out, |out| message(schema, scanner, out))?;
            }
            Ok(())
        }
        _ => {
            put_int(1, i64::from(scanner.word()? == "true"), out);
            Ok(())
        }
    })
}

static STRING: Ty = Ty { kind: Kind::String, go: "", boxed: false };

fn text<'a>(scanner: &mut Scanner<'a>) -> Result<std::borrow::Cow<'a, str>> {
    expect(scanner, b'"', "a string")?;
    scanner.text()
}

fn whole(scanner: &mut Scanner<'_>) -> Result<i64> {
    let text = scanner.number()?;
    text.parse().map_err(|_| wrong("a whole number"))
}

fn expect(scanner: &mut Scanner<'_>, byte: u8, what: &str) -> Result<()> {
    if scanner.peek() == Some(byte) { Ok(()) } else { Err(wrong(what)) }
}

fn wrong(expected: &str) -> DecodeError {
    DecodeError::Value(format!("encode protobuf: expected {expected}"))
}
