//! Secrets: `stringData` is a write-only form of `data`; the type is fixed at creation. And accounts, which name some.
use super::Prepare;
use crate::value::{copy, map_mut, remove, set, text};
use base64::Engine;
use skiff_json::Value;

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

/// References to secrets are names alone.
pub fn prepare_account(v: &mut Value, _: &Prepare<'_>) {
    for secret in v.get_mut("secrets").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        secret.retain(|k, _| k == "name");
    }
}

pub fn update_account(v: &mut Value, _: &Value, p: &Prepare<'_>) {
    prepare_account(v, p);
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
    use skiff_json::json;
    #[test]
    fn accounts_keep_names_of_secrets() {
        let user = skiff_request::User::default();
        let p = Prepare { user: &user, now: skiff_meta::Timestamp(0), role: None };
        let mut v = json!({"secrets": [{"kind": "Secret", "name": "a", "uid": "u"}, {}]});
        prepare_account(&mut v, &p);
        assert_eq!(v, json!({"secrets": [{"name": "a"}, {}]}));
    }
    #[test]
    fn string_data_becomes_data() {
        let mut v = json!({"data": {"b": "eA=="}, "stringData": {"a": "x", "b": "y"}});
        fold_string_data(&mut v);
        assert_eq!(v, json!({"data": {"a": "eA==", "b": "eQ=="}}));
    }
}
