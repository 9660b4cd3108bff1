//! JSON merge patch.
use skiff_json::{Map, Value};

/// RFC 7386: null removes, objects merge, all else replaces.
pub fn merge_patch(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut out = target.as_object().cloned().unwrap_or_else(Map::new);
    for (k, v) in patch.iter().filter(|(_, v)| !v.is_null()) {
        let merged = merge_patch(out.get(k).unwrap_or(&Value::Null), v);
        out.insert(k.clone(), merged);
    }
    // All at once: each alone would move those behind it.
    if patch.values().any(Value::is_null) {
        out.retain(|k, _| !patch.get(k).is_some_and(Value::is_null));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn the_examples_of_the_rfc() {
        for (t, p, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a"]), json!({"a": "b"}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merge_patch(&t, &p), want);
        }
    }
}
