//! YAML to JSON as sigs.k8s.io/yaml does it (YAML 1.1 words and octals, last key wins), and JSON back to YAML.
//!
//! One document a body; splitting streams of documents is the client's business.

mod emit;
mod json;

use serde_saphyr::options;
use skiff_json::Value;

use crate::error::DecodeError;
use crate::json::decode::go_float;
use crate::json::write;
use crate::limits::{MAX_BODY, MAX_YAML_EXPANDED};

pub use emit::json_to_yaml;

/// JSON bytes of a YAML body, and strict findings: keys that are there twice.
pub fn yaml_to_json(bytes: &[u8]) -> Result<(Vec<u8>, Vec<String>), DecodeError> {
    if bytes.len() > MAX_BODY {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let (value, findings) = match json::read(bytes) {
        Some(value) => (value, Vec::new()),
        None => read(bytes)?,
    };
    let mut json = Vec::with_capacity(bytes.len());
    write::untyped(&value, &mut json);
    if json.len() > MAX_YAML_EXPANDED {
        return Err(DecodeError::TooLarge(json.len()));
    }
    Ok((json, findings))
}

/// The same as a value, its keys sorted as in that JSON.
pub fn yaml_to_value(bytes: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    if bytes.len() <= MAX_BODY
        && let Some(mut value) = json::read(bytes)
    {
        sort(&mut value);
        return Ok((value, Vec::new()));
    }
    let (json, findings) = yaml_to_json(bytes)?;
    let value = skiff_json::from_slice(&json).map_err(|error| DecodeError::Yaml(error.to_string()))?;
    Ok((value, findings))
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if !members.keys().is_sorted() {
                members.sort_keys();
            }
            members.values_mut().for_each(sort);
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

/// By the YAML reader: the value, and strict findings.
fn read(bytes: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    let mut value = parse(bytes, serde_saphyr::DuplicateKeyPolicy::LastWins).map_err(|error| DecodeError::Yaml(error.to_string()))?;
    whole_floats(&mut value);
    Ok((value, duplicates(bytes)))
}

fn parse(bytes: &[u8], duplicate_keys: serde_saphyr::DuplicateKeyPolicy) -> Result<Value, serde_saphyr::Error> {
    let options = options! {
        duplicate_keys: duplicate_keys,
        legacy_octal_numbers: true,
        strict_booleans: false,
        with_snippet: false,
        alias_limits: serde_saphyr::options::AliasLimits::default(),
    };
    match serde_saphyr::from_slice_with_options(bytes, options.clone()) {
        // Of several documents the first one counts.
        Err(error) if matches!(error.without_snippet(), serde_saphyr::Error::MultipleDocuments { .. }) => {
            let documents: Vec<Value> = serde_saphyr::from_slice_multiple_with_options(bytes, options)?;
            Ok(documents.into_iter().next().unwrap_or(Value::Null))
        }
        other => other,
    }
}

/// Go writes floats without a fraction as whole numbers.
fn whole_floats(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_floats),
        Value::Object(map) => map.values_mut().for_each(whole_floats),
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64() {
                *value = go_float(float);
            }
        }
        _ => {}
    }
}

/// A second reading that stops at the first repeated key.
fn duplicates(bytes: &[u8]) -> Vec<String> {
    let Err(error) = parse(bytes, serde_saphyr::DuplicateKeyPolicy::Error) else {
        return Vec::new();
    };
    let line = error.location().map_or(0, |location| location.line());
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            vec![format!("yaml: unmarshal errors:\n  line {line}: key \"{key}\" already set in map")]
        }
        _ => vec![format!("yaml: unmarshal errors:\n  line {line}: key already set in map")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(yaml: &str) -> String {
        match yaml_to_json(yaml.as_bytes()) {
            Ok((json, _)) => String::from_utf8_lossy(&json).into_owned(),
            Err(error) => format!("ERROR {error}"),
        }
    }

    #[test]
    fn words_and_numbers_of_yaml_1_1() {
        for (yaml, want) in [
            ("a: yes\nb: on\nc: 'yes'", r#"{"a":true,"b":true,"c":"yes"}"#),
            ("mode: 0644", r#"{"mode":420}"#),
            ("mode: 0o644", r#"{"mode":420}"#),
            ("x: 0x1F", r#"{"x":31}"#),
            ("x: 1_000", r#"{"x":1000}"#),
            ("x: 1.5\ny: 1e3\nz: 2.0", r#"{"x":1.5,"y":1000,"z":2}"#),
            ("a: 1\n---\nb: 2", r#"{"a":1}"#),
            ("x: ~\ny:\nz: null", r#"{"x":null,"y":null,"z":null}"#),
            ("x: 2001-01-01", r#"{"x":"2001-01-01"}"#),
            ("x: \"0644\"", r#"{"x":"0644"}"#),
            ("x: 1.2.3", r#"{"x":"1.2.3"}"#),
            ("a: &x {b: 1}\nc: *x", r#"{"a":{"b":1},"c":{"b":1}}"#),
            ("base: &b {x: 1}\nd:\n  <<: *b\n  y: 2", r#"{"base":{"x":1},"d":{"x":1,"y":2}}"#),
            ("1: a\ntrue: b", r#"{"1":"a","true":"b"}"#),
            ("a: |\n  x\n  y\n", r#"{"a":"x\ny\n"}"#),
            ("a: 1\na: 2", r#"{"a":2}"#),
        ] {
            assert_eq!(json(yaml), want, "{yaml}");
        }
    }

    #[test]
    fn repeated_keys_are_findings() {
        let findings = yaml_to_json(b"a: 1\nb: 2\na: 3").map(|(_, findings)| findings);
        let want = "yaml: unmarshal errors:\n  line 3: key \"a\" already set in map";
        assert_eq!(findings, Ok(vec![want.to_owned()]));
    }

    #[test]
    fn alias_bombs_end_with_an_error() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let before = level - 1;
            let row = vec![format!("*a{before}"); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{row}]\n"));
        }
        assert!(yaml_to_json(bomb.as_bytes()).is_err());
    }
}
