//! Reading and setting fields of an object by dotted path, absent meaning zero as Go has it.
use skiff_json::{Map, Value};

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
pub fn map<'a>(v: &'a Value, path: &str) -> Option<&'a Map> {
    at(v, path).and_then(Value::as_object)
}
/// The map at `path`, made when it is absent. None when something else is in the way.
pub fn map_mut<'a>(v: &'a mut Value, path: &str) -> Option<&'a mut Map> {
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
/// Takes `a.b.c` away and gives it.
pub fn remove(v: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = path.rsplit_once('.').map_or((None, path), |(p, k)| (Some(p), k));
    let slot = match parent {
        Some(p) => p.split('.').try_fold(v, |v, key| v.get_mut(key))?,
        None => v,
    };
    slot.as_object_mut()?.shift_remove(key)
}
/// Makes `a.b.c` what it is in `from`, absence included.
pub fn copy(v: &mut Value, from: &Value, path: &str) {
    match at(from, path) {
        // Most often it is there already, and comparing takes no memory.
        Some(x) if at(v, path) == Some(x) => {}
        Some(x) => set(v, path, x.clone()),
        None => {
            remove(v, path);
        }
    }
}
/// Equal, with absent, null and empty maps and lists being the same.
pub fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.filter(|v| !empty(v)), b.filter(|v| !empty(v))) {
        (None, None) => true,
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.iter().all(|(k, v)| same(Some(v), b.get(k))) && b.iter().all(|(k, v)| a.contains_key(k) || empty(v))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b))),
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}
fn empty(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Object(m) => m.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn paths() {
        let mut v = json!({"a": {"b": 1, "n": null}});
        assert_eq!((int(&v, "a.b"), at(&v, "a.n"), text(&v, "x.y")), (1, None, ""));
        set(&mut v, "a.c.d", "x");
        assert_eq!(text(&v, "a.c.d"), "x");
        list_mut(&mut v, "a.n").unwrap().push(json!(7));
        assert_eq!(list(&v, "a.n"), [json!(7)]);
        assert_eq!(remove(&mut v, "a.b"), Some(json!(1)));
        assert!(same(Some(&json!({"a": [], "b": 1})), Some(&json!({"b": 1, "c": {}}))));
        assert!(!same(Some(&json!({"b": 1})), Some(&json!({"b": 2}))));
    }
}
