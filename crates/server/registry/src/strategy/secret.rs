//! Secrets: `stringData` is a write-only form of `data`; the type is fixed at creation.
use super::Prepare;
use crate::value::{copy, map_mut, remove, set, text};
use base64::Engine;
use serde_json::Value;

pub fn prepare_create(v: &mut Value, _: &Prepare<'_>) {
    if text(v, "type").is_empty() {
        set(v, "type", "Opaque");
    }
}

pub fn prepare_update(v: &mut Value, old: &Value, _: &Prepare<'_>) {
    if text(v, "type").is_empty() {
        copy(v, old, "type");
    }
}

pub fn fold_string_data(v: &mut Value) {
    let Some(Value::Object(plain)) = remove(v, "stringData") else { return };
    if plain.is_empty() {
        return;
    }
    let Some(data) = map_mut(v, "data") else { return };
    for (key, value) in plain {
        let bytes = value.as_str().unwrap_or_default();
        data.insert(key, base64::engine::general_purpose::STANDARD.encode(bytes).into());
    }
    data.sort_keys();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[test]
    fn string_data_becomes_data() {
        let mut v = json!({"data": {"b": "eA=="}, "stringData": {"a": "x", "b": "y"}});
        fold_string_data(&mut v);
        assert_eq!(v, json!({"data": {"a": "eA==", "b": "eQ=="}}));
    }
}
