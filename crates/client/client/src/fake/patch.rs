//! The two patches that the fake knows.
use skiff_json::Value;
use skiff_meta::Status;

/// RFC 7396, and `$deleteFromPrimitiveList` of strategic merge patches.
pub(super) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Default::default());
    }
    let Value::Object(into) = into else { return };
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(Value::Array(kept)) = into.get_mut(list) {
                kept.retain(|v| !value.as_array().is_some_and(|gone| gone.contains(v)));
            }
        } else if value.is_null() {
            into.shift_remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902 without `move` and `copy`.
pub(super) fn json(into: &mut Value, patch: &Value) -> Result<(), Status> {
    let bad = |why: &str| Status::bad_request(format!("json patch: {why}"));
    for op in patch.as_array().ok_or_else(|| bad("not a list"))? {
        let path = op["path"].as_str().ok_or_else(|| bad("no path"))?;
        if op["op"] == "test" {
            if into.pointer(path).unwrap_or(&Value::Null) != &op["value"] {
                return Err(bad("a test failed"));
            }
            continue;
        }
        let (parent, key) = path.rsplit_once('/').ok_or_else(|| bad("the path is no pointer"))?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let remove = op["op"] == "remove";
        match into.pointer_mut(parent).ok_or_else(|| bad("the path is not there"))? {
            Value::Object(m) if remove => drop(m.shift_remove(&key)),
            Value::Object(m) => drop(m.insert(key, op["value"].clone())),
            Value::Array(a) => {
                let at = if key == "-" { a.len() } else { key.parse().map_err(|_| bad("no index"))? };
                match op["op"].as_str() {
                    Some("add") if at <= a.len() => a.insert(at, op["value"].clone()),
                    Some("remove") if at < a.len() => drop(a.remove(at)),
                    Some("replace") if at < a.len() => a[at] = op["value"].clone(),
                    _ => return Err(bad("the index is out of range")),
                }
            }
            _ => return Err(bad("the path leads into a value")),
        }
    }
    Ok(())
}
