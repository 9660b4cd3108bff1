//! The annotation of `kubectl apply` without `--server-side`: whoever comes back to it later must find what was applied last,
//! so an apply by the server under kubectl's name keeps it up to date where it is.
use skiff_json::{Map, Value};

/// The manager that goes over from client-side to server-side apply, and where it left what it applied.
pub(crate) const KUBECTL: &str = "kubectl";
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Sets the annotation of `object`, if it has one, to `config`. Returns whether it was another.
pub(crate) fn sync(object: &mut Value, config: &Value) -> bool {
    let Some(Value::String(there)) = object.pointer_mut("/metadata/annotations").and_then(|a| a.get_mut(LAST_APPLIED)) else { return false };
    let now = text(config);
    if there.is_empty() || *there == now {
        return false;
    }
    *there = now;
    true
}

/// As Go's encoder writes it, the annotation itself left out.
fn text(config: &Value) -> String {
    let mut config = sorted(config);
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(LAST_APPLIED);
    }
    // These stand nowhere but in strings.
    let escaped = config
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    escaped + "\n"
}

fn sorted(v: &Value) -> Value {
    match v {
        Value::Object(members) => {
            let mut all: Vec<(_, &Value)> = members.iter().collect();
            all.sort_unstable_by_key(|(name, _)| *name);
            Value::Object(all.into_iter().map(|(name, v)| (name.clone(), sorted(v))).collect::<Map>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn the_annotation_follows_where_it_is() {
        let with = |last: &str| json!({"metadata": {"name": "x", "annotations": {LAST_APPLIED: last}}});
        let config =
            json!({"kind": "K", "apiVersion": "v1", "data": {"b": "<", "a": "1"}, "metadata": {"name": "x", "annotations": {LAST_APPLIED: "old", "c": "d"}}});
        let mut object = with("{}");
        assert!(sync(&mut object, &config));
        let now =
            "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"1\",\"b\":\"\\u003c\"},\"kind\":\"K\",\"metadata\":{\"annotations\":{\"c\":\"d\"},\"name\":\"x\"}}\n";
        assert_eq!(object, with(now));
        assert!(!sync(&mut object, &config), "it is there already");
        let mut without = json!({"metadata": {"name": "x"}});
        assert!(!sync(&mut without, &config) && without == json!({"metadata": {"name": "x"}}));
    }
}
