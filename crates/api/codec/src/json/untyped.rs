//! JSON values without a table: custom resources, raw extensions, cells.

use skiff_json::{Map, Number, Value};

use super::scan::Scanner;
use super::strict::Strict;
use crate::error::DecodeError;

/// Reads a value; with `strict`, duplicate keys are noted.
pub fn value(scanner: &mut Scanner<'_>, mut strict: Option<&mut Strict>) -> Result<Value, DecodeError> {
    match scanner.peek() {
        Some(b'{') => object(scanner, strict),
        Some(b'[') => {
            scanner.open()?;
            let mut items = Vec::new();
            while scanner.next_element(items.is_empty())? {
                let mark = strict.as_mut().map(|s| s.enter_index(items.len()));
                items.push(value(scanner, strict.as_deref_mut())?);
                leave(&mut strict, mark);
            }
            Ok(Value::Array(items))
        }
        Some(b'"') => scanner.text().map(|text| Value::String(text.into_owned())),
        Some(b'-' | b'0'..=b'9') => scanner.number().and_then(number),
        _ => Ok(match scanner.word()? {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::Null,
        }),
    }
}

fn object(scanner: &mut Scanner<'_>, mut strict: Option<&mut Strict>) -> Result<Value, DecodeError> {
    scanner.open()?;
    let mut map = Map::new();
    let mut first = true;
    while let Some(key) = scanner.next_key(first)? {
        first = false;
        let mut mark = None;
        if let Some(strict) = strict.as_mut() {
            if map.contains_key(key.as_ref()) {
                strict.duplicate(&key);
            }
            mark = Some(strict.enter_key(&key));
        }
        let inner = value(scanner, strict.as_deref_mut())?;
        leave(&mut strict, mark);
        map.insert(key.into_owned(), inner);
    }
    Ok(Value::Object(map))
}

fn leave(strict: &mut Option<&mut Strict>, mark: Option<usize>) {
    if let (Some(strict), Some(mark)) = (strict.as_mut(), mark) {
        strict.leave(mark);
    }
}

/// Whole numbers that fit stay whole; all others are floats, as in Go.
pub fn number(text: &str) -> Result<Value, DecodeError> {
    let whole = if text.contains('.') { None } else { text.parse::<i64>().ok() };
    if let Some(whole) = whole {
        return Ok(Value::from(whole));
    }
    let float = text.parse::<f64>().ok().and_then(Number::from_f64);
    float.map(Value::Number).ok_or_else(|| DecodeError::Value(format!("json: cannot unmarshal number {text} into Go value of type float64")))
}
