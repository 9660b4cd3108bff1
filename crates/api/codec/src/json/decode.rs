//! JSON to a canonical value by the tables.
//!
//! As in Go, a value of the wrong type does not end the decoding: the first such error is kept and reported at the end,
//! and an error of a value's own decoder (a quantity, a time) comes before it. Nothing is interpreted beyond types:
//! defaults and validation come later.

use skiff_json::{Map, Value};
use skiff_schema::{Field, Kind, ListType, MapOf, Ty, Type};

use super::scan::Scanner;
use super::special::{self, Fault, what_is};
use super::strict::Strict;
use super::{base64, untyped, zero};
use crate::error::DecodeError;

/// One run over one text.
pub struct Decoder<'s> {
    strict: &'s mut Strict,
    /// Go's error context: the struct at hand, and JSON names from the root.
    owner: &'static str,
    names: Vec<&'static str>,
    saved: Option<Mistake>,
    fatal: Option<Mistake>,
    /// Reads what a client sent: what is empty in it may count.
    body: bool,
    /// Atomic lists around the value at hand.
    atomic: usize,
    hollow: bool,
}

/// An error about a value: a text, or a value of the wrong type with the place where it is.
#[derive(Debug)]
pub enum Mistake {
    Text(String),
    Type { what: String, wanted: String, owner: &'static str, place: String },
}

impl Mistake {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Type { what, wanted, owner, place } if owner.is_empty() && place.is_empty() => {
                format!("json: cannot unmarshal {what} into Go value of type {wanted}")
            }
            Self::Type { what, wanted, owner, place } => format!("json: cannot unmarshal {what} into Go struct field {owner}.{place} of type {wanted}"),
        }
    }
}

type Result<T> = std::result::Result<T, DecodeError>;

impl<'s> Decoder<'s> {
    pub fn new(strict: &'s mut Strict) -> Self {
        Self { strict, owner: "", names: Vec::new(), saved: None, fatal: None, body: false, atomic: 0, hollow: false }
    }
    pub fn of_body(self, body: bool) -> Self {
        Self { body, ..self }
    }
    /// Whether something empty was kept.
    pub fn hollow(&self) -> bool {
        self.hollow
    }

    /// The first error about a value, if there was any.
    pub fn fault(&mut self) -> Option<String> {
        self.mistake().map(Mistake::text)
    }
    /// The same for a decoder that is a part of another.
    pub fn mistake(&mut self) -> Option<Mistake> {
        self.fatal.take().or_else(|| self.saved.take())
    }

    /// Decodes a whole object.
    pub fn root(&mut self, ty: &'static Type, scanner: &mut Scanner<'_>) -> Result<Value> {
        match scanner.peek() {
            Some(b'{') => Ok(Value::Object(self.structure(ty, scanner, None)?)),
            Some(b'n') => {
                scanner.word()?;
                Ok(Value::Object(zero::zero_struct(ty)))
            }
            _ => {
                self.mismatch(scanner, ty.go_name())?;
                Ok(Value::Null)
            }
        }
    }

    fn structure(&mut self, ty: &'static Type, scanner: &mut Scanner<'_>, previous: Option<Value>) -> Result<Map> {
        scanner.open()?;
        let mut slots: Vec<Option<Value>> = Vec::new();
        slots.resize_with(ty.fields.len(), || None);
        if let Some(Value::Object(map)) = previous {
            for (name, value) in map {
                if let Some(slot) = ty.field_index(&name).and_then(|i| slots.get_mut(i)) {
                    *slot = Some(value);
                }
            }
        }
        let (owner, depth) = (self.owner, self.names.len());
        let mut seen = vec![false; ty.fields.len()];
        let mut first = true;
        while let Some(key) = scanner.next_key(first)? {
            first = false;
            let Some(index) = ty.field_index(&key) else {
                self.strict.unknown(&key);
                scanner.skip()?;
                continue;
            };
            let (Some(field), Some(slot), Some(seen)) = (ty.fields.get(index), slots.get_mut(index), seen.get_mut(index)) else {
                continue;
            };
            if std::mem::replace(seen, true) {
                self.strict.duplicate(field.name);
            }
            self.owner = ty.short_name();
            self.enter(field);
            let mark = self.strict.enter_key(field.name);
            let atomic = matches!(field.ty.kind, Kind::List(_)) && !matches!(field.list, ListType::Map | ListType::Set) && self.body;
            self.atomic += usize::from(atomic);
            let decoded = self.value(&field.ty, scanner, slot.take())?;
            self.atomic -= usize::from(atomic);
            *slot = decoded;
            self.strict.leave(mark);
            self.owner = owner;
            self.names.truncate(depth);
        }
        let counts = |f: &Field, v: &Value| is_empty(v) && zero::left_out(f, v) && (self.atomic > 0 || emptiness_counts(ty, f));
        let told: Vec<(String, Value)> =
            ty.fields.iter().zip(&slots).filter_map(|(f, v)| Some((f.name.to_owned(), v.as_ref().filter(|v| counts(f, v))?.clone()))).collect();
        self.hollow |= !told.is_empty();
        let mut map = assemble(ty, slots);
        map.extend(told);
        Ok(map)
    }

    fn enter(&mut self, field: &'static Field) {
        let embedded = field.embedded();
        if !embedded.is_empty() {
            self.names.extend(embedded.split('.'));
        }
        self.names.push(field.name);
    }

    /// Decodes one value; none stands for null and for a value of the wrong type.
    fn value(&mut self, ty: &'static Ty, scanner: &mut Scanner<'_>, previous: Option<Value>) -> Result<Option<Value>> {
        if special::is_special(ty.kind) {
            return self.special(ty, scanner);
        }
        if scanner.peek() == Some(b'n') {
            scanner.word()?;
            let keeps = matches!(ty.kind, Kind::Ref(_));
            return Ok(if keeps { previous } else { None });
        }
        match (ty.kind, scanner.peek()) {
            (Kind::Ref(inner), Some(b'{')) => self.structure(inner, scanner, previous).map(|m| Some(Value::Object(m))),
            (Kind::List(item), Some(b'[')) => self.list(item, scanner).map(Some),
            (Kind::Map(map), Some(b'{')) => self.map(map, scanner, previous).map(Some),
            (Kind::String, Some(b'"')) => scanner.text().map(|text| Some(Value::String(text.into_owned()))),
            (Kind::Bytes, Some(b'"')) => self.bytes(scanner),
            (Kind::Bytes, Some(b'[')) => self.byte_list(scanner),
            (Kind::Bool, Some(b't' | b'f')) => Ok(Some(Value::Bool(scanner.word()? == "true"))),
            (Kind::Int32 | Kind::Int64 | Kind::Float64, Some(b'-' | b'0'..=b'9')) => self.number(ty, scanner),
            (Kind::Any, _) => untyped::value(scanner, Some(self.strict)).map(Some),
            (_, None) => Err(scanner.unexpected("")),
            _ => {
                self.mismatch(scanner, &ty.go_type())?;
                Ok(None)
            }
        }
    }

    fn list(&mut self, item: &'static Ty, scanner: &mut Scanner<'_>) -> Result<Value> {
        scanner.open()?;
        let mut items = Vec::new();
        while scanner.next_element(items.is_empty())? {
            let mark = self.strict.enter_index(items.len());
            let value = self.value(item, scanner, None)?;
            self.strict.leave(mark);
            items.push(value.unwrap_or_else(|| zero::zero(item)));
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, map: &'static MapOf, scanner: &mut Scanner<'_>, previous: Option<Value>) -> Result<Value> {
        scanner.open()?;
        let mut out = Map::new();
        let mut first = true;
        while let Some(key) = scanner.next_key(first)? {
            first = false;
            if out.contains_key(key.as_ref()) {
                self.strict.duplicate(&key);
            }
            let mark = self.strict.enter_key(&key);
            let value = self.value(&map.value, scanner, None)?;
            self.strict.leave(mark);
            // Bytes that are null in a map come back empty: storing them loses the difference.
            let nothing = || if matches!(map.value.kind, Kind::Bytes) { Value::String(String::new()) } else { zero::zero(&map.value) };
            out.insert(key.into_owned(), value.unwrap_or_else(nothing));
        }
        // A map that comes twice is merged, as in Go.
        if let Some(Value::Object(mut before)) = previous {
            before.append(&mut out);
            out = before;
        }
        if !out.keys().is_sorted() {
            out.sort_keys();
        }
        Ok(Value::Object(out))
    }

    fn number(&mut self, ty: &'static Ty, scanner: &mut Scanner<'_>) -> Result<Option<Value>> {
        let text = scanner.number()?;
        let value = match ty.kind {
            Kind::Int32 => text.parse::<i32>().ok().map(Value::from),
            Kind::Int64 => text.parse::<i64>().ok().map(Value::from),
            _ => text.parse::<f64>().ok().filter(|f| f.is_finite()).map(go_float),
        };
        if value.is_none() {
            self.save(&format!("number {text}"), &ty.go_type());
        }
        Ok(value)
    }

    fn bytes(&mut self, scanner: &mut Scanner<'_>) -> Result<Option<Value>> {
        let text = scanner.string()?;
        match base64::decode(&text) {
            // Clean text is its own canonical form.
            Ok(_) if !text.contains(['\r', '\n']) => Ok(Some(Value::String(text))),
            Ok(bytes) => Ok(Some(Value::String(base64::encode(&bytes)))),
            Err(error) => {
                self.saved.get_or_insert(Mistake::Text(error));
                Ok(None)
            }
        }
    }

    /// Go takes a list of numbers for bytes, too.
    fn byte_list(&mut self, scanner: &mut Scanner<'_>) -> Result<Option<Value>> {
        scanner.open()?;
        let mut bytes: Vec<u8> = Vec::new();
        while scanner.next_element(bytes.is_empty())? {
            let mut byte = 0;
            match scanner.peek() {
                Some(b'-' | b'0'..=b'9') => {
                    let text = scanner.number()?;
                    match text.parse() {
                        Ok(parsed) => byte = parsed,
                        Err(_) => self.save(&format!("number {text}"), "uint8"),
                    }
                }
                Some(b'n') => {
                    scanner.word()?;
                }
                _ => self.mismatch(scanner, "uint8")?,
            }
            bytes.push(byte);
        }
        Ok(Some(Value::String(base64::encode(&bytes))))
    }

    fn special(&mut self, ty: &'static Ty, scanner: &mut Scanner<'_>) -> Result<Option<Value>> {
        let start = scanner.position();
        match special::decode(ty.kind, scanner) {
            Ok(Value::Null) => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(Fault::Syntax(error)) => Err(error),
            Err(Fault::Type(what, wanted)) => {
                let mistake = self.type_error(&what, wanted);
                self.fatal.get_or_insert(mistake);
                Ok(None)
            }
            Err(Fault::Inside(inner)) => {
                let mistake = self.placed(inner);
                self.fatal.get_or_insert(mistake);
                Ok(None)
            }
            Err(Fault::Text(text)) => {
                if scanner.since(start).is_empty() {
                    scanner.skip()?;
                }
                self.fatal.get_or_insert(Mistake::Text(text));
                Ok(None)
            }
        }
    }

    /// Skips a value of the wrong type and keeps the error if it is the first.
    fn mismatch(&mut self, scanner: &mut Scanner<'_>, wanted: &str) -> Result<()> {
        let what = what_is(scanner.peek());
        scanner.skip()?;
        self.save(what, wanted);
        Ok(())
    }

    fn save(&mut self, what: &str, wanted: &str) {
        if self.saved.is_none() {
            self.saved = Some(self.type_error(what, wanted));
        }
    }

    fn type_error(&self, what: &str, wanted: &str) -> Mistake {
        Mistake::Type { what: what.to_owned(), wanted: wanted.to_owned(), owner: self.owner, place: self.names.join(".") }
    }

    /// A mistake of a part's own decoder, with this one's place before its own.
    fn placed(&self, inner: Mistake) -> Mistake {
        match inner {
            Mistake::Type { what, wanted, place, .. } => {
                let names: Vec<&str> = self.names.iter().copied().chain(Some(place.as_str()).filter(|p| !p.is_empty())).collect();
                Mistake::Type { what, wanted, owner: self.owner, place: names.join(".") }
            }
            text => text,
        }
    }
}

/// Lists that get a default where there is none, and are refused where they are empty.
fn emptiness_counts(ty: &Type, field: &Field) -> bool {
    field.name == "policies" && ty.name == "io.k8s.api.autoscaling.v2.HPAScalingRules"
}

fn is_empty(v: &Value) -> bool {
    match v {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Puts decoded fields into Go's order, with zeros where Go writes them.
pub fn assemble(ty: &Type, slots: Vec<Option<Value>>) -> Map {
    let filled = slots.iter().filter(|s| s.is_some()).count();
    let mut map = Map::with_capacity(filled);
    for (field, slot) in ty.fields.iter().zip(slots) {
        let value = match slot {
            Some(value) if zero::left_out(field, &value) => None,
            Some(Value::Null) | None => zero::absent(field),
            other => other,
        };
        if let Some(value) = value {
            map.insert(field.name.to_owned(), value);
        }
    }
    map
}

/// Go writes floats without a fraction as whole numbers.
pub fn go_float(float: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() == 0.0 && float.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked above")]
        return Value::from(float as i64);
    }
    Value::from(float)
}
