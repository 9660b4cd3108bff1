//! Reading and setting fields of an object by dotted path, absent meaning zero as Go has it.
use serde_json::{Map, Value};

/// The value at `a.b.c`; None when a step is absent or null.
pub fn at<'a>(v: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(v, |v, key| v.get(key)).filter(|v| !v.is_null())
}
pub fn text<'a>(v: &'a Value, path: &str) -> &'a str {
    at(v, path).and_then(Value::as_str).unwrap_or_default()
}
pub fn int(v: &Value, path: &str) -> i64 {
    at(v, path).and_then(Value::as_i64).unwrap_or_default()
}
pub fn flag(v: &Value, path: &str) -> bool {
    at(v, path).and_then(Value::as_bool).unwrap_or_default()
}
pub fn list<'a>(v: &'a Value, path: &str) -> &'a [Value] {
    at(v, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
pub fn map<'a>(v: &'a Value, path: &str) -> Option<&'a Map<String, Value>> {
    at(v, path).and_then(Value::as_object)
}
/// The map at `path`, made when it is absent. None when something else is in the way.
pub fn map_mut<'a>(v: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut v = v;
    for key in path.split('.') {
        let slot = v.as_object_mut()?.entry(key).or_insert(Value::Null);
        if slot.is_null() {
            *slot = Value::Object(Map::new());
        }
        v = slot;
    }
    v.as_object_mut()
}
/// Sets `a.b.c`, making the maps between.
pub fn set(v: &mut Value, path: &str, value: impl Into<Value>) {
    let (parent, key) = path.rsplit_once('.').map_or((None, path), |(p, k)| (Some(p), k));
    let slot = match parent {
        Some(p) => map_mut(v, p),
        None => v.as_object_mut(),
    };
    if let Some(m) = slot {
        m.insert(key.to_owned(), value.into());
    }
}
/// The list at `path`, made when it is absent. None when something else is in the way.
pub fn list_mut<'a>(v: &'a mut Value, path: &str) -> Option<&'a mut Vec<Value>> {
    let (parent, key) = path.rsplit_once('.').map_or((None, path), |(p, k)| (Some(p), k));
    let slot = match parent {
        Some(p) => map_mut(v, p)?,
        None => v.as_object_mut()?,
    };
    let slot = slot.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[test]
    fn paths() {
        let mut v = json!({"a": {"b": 1, "n": null}});
        assert_eq!((int(&v, "a.b"), at(&v, "a.n"), text(&v, "x.y")), (1, None, ""));
        set(&mut v, "a.c.d", "x");
        assert_eq!(text(&v, "a.c.d"), "x");
        list_mut(&mut v, "a.n").unwrap().push(json!(7));
        assert_eq!(list(&v, "a.n"), [json!(7)]);
    }
}
