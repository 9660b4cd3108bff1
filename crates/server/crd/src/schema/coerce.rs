//! What reading JSON into Go's types does for built-in kinds, done for custom ones: unknown fields go, nulls that may not
//! be go, and the metadata of embedded objects is ObjectMeta.
use super::{Schema, drop_nulls, prune};
use skiff_json::Value;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Gives the paths of unknown fields; the error is about metadata of an embedded object that cannot be read. The
/// metadata of the object itself is the decoder's.
pub fn coerce(v: &mut Value, s: &Schema) -> Result<Vec<String>, String> {
    let own: Vec<(&str, Option<Value>)> =
        ["apiVersion", "kind", "metadata"].into_iter().map(|k| (k, v.as_object_mut().and_then(|m| m.get_mut(k)).map(Value::take))).collect();
    let mut unknown = prune(v, s, true);
    drop_nulls(v, s);
    let mut strict = Vec::new();
    embedded(v, s, "", true, &mut strict)?;
    if let Value::Object(m) = v {
        for (k, old) in own {
            if let Some(old) = old {
                m.insert(k.to_owned(), old);
            }
        }
    }
    unknown.extend(strict);
    Ok(unknown)
}

/// Metadata of embedded objects, by Go's decoder.
fn embedded(v: &mut Value, s: &Schema, path: &str, root: bool, unknown: &mut Vec<String>) -> Result<(), String> {
    match v {
        Value::Object(m) => {
            if s.embedded
                && !root
                && let Some(meta) = m.get_mut("metadata")
                && let Some(ty) = skiff_schema::by_name(OBJECT_META)
            {
                let d = skiff_codec::decode_value(ty, meta).map_err(|e| format!("{path}.metadata: Invalid value: {}: {e}", skiff_validation::shown(meta)))?;
                unknown.extend(d.strict.iter().filter_map(|f| f.strip_prefix("unknown field \"")?.strip_suffix('"').map(|f| format!("{path}.metadata.{f}"))));
                *meta = d.object;
            }
            for (k, v) in m.iter_mut() {
                if let Some(p) = s.properties.get(k.as_str()).or_else(|| s.additional_schema()) {
                    let below = if path.is_empty() { k.to_string() } else { format!("{path}.{k}") };
                    embedded(v, p, &below, false, unknown)?;
                }
            }
        }
        Value::Array(items) => {
            if let Some(p) = &s.items {
                for (i, v) in items.iter_mut().enumerate() {
                    embedded(v, p, &format!("{path}[{i}]"), false, unknown)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn embedded_metadata_is_objectmeta() {
        let s = Schema::read(
            &json!({"type": "object", "properties": {"t": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}),
        );
        let mut v = json!({"metadata": {"name": "n"}, "t": {"metadata": {"name": "x", "bogus": 1}, "spec": {"a": 1}}});
        assert_eq!(coerce(&mut v, &s).unwrap(), ["t.metadata.bogus"]);
        assert_eq!(v, json!({"metadata": {"name": "n"}, "t": {"metadata": {"name": "x"}, "spec": {"a": 1}}}));
        let mut bad = json!({"t": {"metadata": {"name": 7}}});
        assert!(coerce(&mut bad, &s).is_err());
    }
}
