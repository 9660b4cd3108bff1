//! ConfigMaps and Secrets.
use crate::{field::Field, names, same::same};
use skiff_json::Value;

/// Bytes of all values together.
const MAX_SIZE: usize = 1024 * 1024;

/// Bytes that base64 text stands for.
fn decoded_len(text: &str) -> usize {
    text.len() / 4 * 3 - text.bytes().rev().take_while(|b| *b == b'=').count().min(2).min(text.len() / 4 * 3)
}

pub(crate) fn config_map(v: &Field<'_>) {
    let (data, binary) = (v.at("data"), v.at("binaryData"));
    let mut size = 0;
    for (k, f) in data.entries() {
        f.check_text(k, names::config_key);
        if binary.key(k).exists() {
            f.invalid(k, "duplicate of key present in binaryData");
        }
        size += f.str().len();
    }
    for (k, f) in binary.entries() {
        f.check_text(k, names::config_key);
        size += decoded_len(f.str());
    }
    if size > MAX_SIZE {
        v.under("-", "[]").too_long(MAX_SIZE);
    }
}

const SET: &str = "field is immutable when `immutable` is set";

fn frozen(new: &Field<'_>, old: &Field<'_>, parts: &[&'static str]) {
    if !old.at("immutable").flag() {
        return;
    }
    if !new.at("immutable").flag() {
        new.at("immutable").forbidden(SET);
    }
    for part in parts {
        if !same(new.at(part).value(), old.at(part).value()) {
            new.at(part).forbidden(SET);
        }
    }
}

pub(crate) fn config_map_update(new: &Field<'_>, old: &Field<'_>) {
    frozen(new, old, &["data", "binaryData"]);
    config_map(new);
}

pub(crate) fn secret(v: &Field<'_>) {
    let data = v.at("data");
    let mut size = 0;
    for (k, f) in data.entries() {
        f.check_text(k, names::config_key);
        size += decoded_len(f.str());
    }
    if size > MAX_SIZE {
        data.too_long(MAX_SIZE);
    }
    let missing = |key: &'static str| {
        if !data.key(key).exists() {
            data.key(key).required("");
        }
    };
    match v.at("type").str() {
        "kubernetes.io/service-account-token" => {
            let account = v.at("metadata").at("annotations").key("kubernetes.io/service-account.name");
            if account.str().is_empty() {
                account.required("");
            }
        }
        "kubernetes.io/dockercfg" => docker(&data.key(".dockercfg")),
        "kubernetes.io/dockerconfigjson" => docker(&data.key(".dockerconfigjson")),
        "kubernetes.io/basic-auth" if !data.key("username").exists() && !data.key("password").exists() => {
            missing("username");
            missing("password");
        }
        "kubernetes.io/ssh-auth" if data.key("ssh-privatekey").str().is_empty() => data.key("ssh-privatekey").required(""),
        "kubernetes.io/tls" => {
            missing("tls.crt");
            missing("tls.key");
        }
        _ => {}
    }
}

/// What a client is told of a new certificate with its key.
pub(crate) fn warn_of_pair(v: &Field<'_>) {
    let part = |key: &str| base64(v.inside("data").key(key).str());
    if v.inside("type").str() == "kubernetes.io/tls"
        && let Err(why) = skiff_pki::check_pair(&part("tls.crt"), &part("tls.key"))
    {
        v.warn_whole(why);
    }
}

fn docker(f: &Field<'_>) {
    let Some(text) = f.text() else { return f.required("") };
    let bytes = base64(text);
    if let Some(why) = not_an_object(&bytes) {
        f.invalid("<secret contents redacted>", &why);
    }
}

/// Decodes standard base64; anything else ends it.
fn base64(text: &str) -> Vec<u8> {
    let value = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut out, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for v in text.bytes().map_while(value) {
        bits = bits << 6 | u32::from(v);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

/// What Go's decoder says of bytes that are no JSON object.
fn not_an_object(bytes: &[u8]) -> Option<String> {
    let kind = match skiff_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(_) | Value::Null) => return None,
        Ok(Value::Array(_)) => "array",
        Ok(Value::String(_)) => "string",
        Ok(Value::Number(_)) => "number",
        Ok(Value::Bool(_)) => "bool",
        Err(e) if e.is_eof() => return Some("unexpected end of JSON input".into()),
        Err(e) if e.to_string().starts_with("trailing characters") => {
            return Some(format!("invalid character '{}' after top-level value", character(bytes, &e)));
        }
        Err(e) => return Some(format!("invalid character '{}' looking for beginning of value", character(bytes, &e))),
    };
    Some(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"))
}

/// The byte at which reading failed, as Go shows a character.
fn character(bytes: &[u8], e: &skiff_json::Error) -> String {
    let line = bytes.split(|b| *b == b'\n').nth(e.line().saturating_sub(1)).unwrap_or_default();
    let b = line.get(e.column().saturating_sub(1)).or(bytes.last()).copied().unwrap_or(b' ');
    match b {
        b'\'' => "\\'".into(),
        b'"' => "\"".into(),
        b => skiff_meta::go::quote(&(b as char).to_string()).trim_matches('"').to_owned(),
    }
}

pub(crate) fn secret_update(new: &Field<'_>, old: &Field<'_>) {
    frozen(new, old, &["data"]);
    secret(new);
    let kind = new.at("type");
    if kind.str() != old.at("type").str() {
        kind.invalid(kind.str(), "field is immutable");
    }
}
