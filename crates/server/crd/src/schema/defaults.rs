//! Defaults of a schema, and nulls where none may be.
use super::Schema;
use skiff_json::Value;

fn unfit(v: Option<&Value>, s: &Schema) -> bool {
    v.is_some_and(Value::is_null) && !s.nullable
}

/// Fills in defaults: where a field is absent, or null and must not be.
pub fn apply(v: &mut Value, s: &Schema) {
    match v {
        Value::Object(m) => {
            for (k, p) in &s.properties {
                if let Some(d) = &p.default
                    && (!m.contains_key(k) || unfit(m.get(k), p))
                {
                    m.insert(k.clone(), d.clone());
                }
            }
            for (k, v) in m.iter_mut() {
                let Some(p) = s.properties.get(k.as_str()).or_else(|| s.additional_schema()) else { continue };
                fill(v, p, s.properties.contains_key(k.as_str()));
            }
        }
        Value::Array(items) => {
            if let Some(p) = &s.items {
                items.iter_mut().for_each(|v| fill(v, p, false));
            }
        }
        _ => {}
    }
}

fn fill(v: &mut Value, s: &Schema, property: bool) {
    if !property && unfit(Some(v), s) {
        *v = s.default.clone().unwrap_or_default();
    }
    apply(v, s);
}

/// Takes nulls away where the schema allows none and has no default.
pub fn drop_nulls(v: &mut Value, s: &Schema) {
    match v {
        Value::Object(m) => {
            m.retain(|k, v| !s.properties.get(k.as_str()).or_else(|| s.additional_schema()).is_some_and(|p| unfit(Some(v), p)));
            for (k, v) in m.iter_mut() {
                if let Some(p) = s.properties.get(k.as_str()).or_else(|| s.additional_schema()) {
                    drop_nulls(v, p);
                }
            }
        }
        Value::Array(items) => {
            if let Some(p) = &s.items {
                items.iter_mut().for_each(|v| drop_nulls(v, p));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn defaults_and_nulls() {
        let s = Schema::read(&json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "A"},
            "n": {"type": "string", "nullable": true, "default": "N"},
            "x": {"type": "string"},
            "o": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 5}}},
            "l": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "boolean", "default": true}}}}}}));
        let mut v = json!({"a": null, "n": null, "x": null, "l": [{}]});
        apply(&mut v, &s);
        drop_nulls(&mut v, &s);
        assert_eq!(v, json!({"a": "A", "n": null, "o": {"b": 5}, "l": [{"c": true}]}));
    }
}
