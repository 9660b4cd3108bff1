//! JSON patch, as lenient as upstream's library (evanphx/json-patch v4): a member that is absent reads as null, what stands
//! before the first slash of a path is not looked at, indices count from the end when they are negative.
use crate::PatchError;
use skiff_json::{Map, Value};
use skiff_meta::go;

/// Upstream's limit.
const MAX_OPERATIONS: usize = 10_000;
/// Bytes that the copies of one patch may add.
const MAX_COPIED: usize = 3 << 20;
const MISSING: &str = "missing value";

/// Applies a JSON patch. A `test` of an absent path against null passes, as it does upstream.
pub fn json_patch(target: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let operations = match skiff_json::from_slice::<Value>(patch).map_err(|_| PatchError::Malformed("invalid JSON patch".into()))? {
        Value::Array(list) => list,
        Value::Null => Vec::new(),
        other => {
            return Err(PatchError::Malformed(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                json_type(&other)
            )));
        }
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooMany { max: MAX_OPERATIONS, got: operations.len() });
    }
    let operations = operations.into_iter().map(Operation::read).collect::<Result<Vec<_>, _>>()?;
    let (mut out, mut copied) = (target.clone(), 0);
    for op in operations {
        op.apply(&mut out, &mut copied)?;
    }
    Ok(out)
}

/// What Go's decoder calls a value.
pub fn json_type(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Operation {
    op: Option<String>,
    path: Option<String>,
    from: Option<String>,
    value: Option<Value>,
}

fn unfit(why: impl Into<String>) -> PatchError {
    PatchError::Unfit(why.into())
}

impl Operation {
    fn read(v: Value) -> Result<Self, PatchError> {
        let mut fields = match v {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => {
                return Err(PatchError::Malformed(format!(
                    "error decoding patch: json: cannot unmarshal {} into Go value of type handlers.jsonPatchOp",
                    json_type(&other)
                )));
            }
        };
        let mut text = |key: &str| match fields.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(other) => Err(PatchError::Malformed(format!(
                "error decoding patch: json: cannot unmarshal {} into Go struct field jsonPatchOp.{key} of type string",
                json_type(&other)
            ))),
        };
        let (op, path, from) = (text("op")?, text("path")?, text("from")?);
        Ok(Self { op, path, from, value: fields.remove("value") })
    }

    fn apply(self, doc: &mut Value, copied: &mut usize) -> Result<(), PatchError> {
        match self.op.as_deref().unwrap_or("unknown") {
            "add" => self.add(doc),
            "remove" => self.remove(doc),
            "replace" => self.replace(doc),
            "move" => self.shift(doc),
            "copy" => self.copy(doc, copied),
            "test" => self.test(doc),
            other => Err(unfit(format!("Unexpected kind: {other}"))),
        }
    }

    fn path(&self, why: &str) -> Result<&str, PatchError> {
        self.path.as_deref().ok_or_else(|| unfit(format!("{why}: {MISSING}")))
    }
    fn from(&self, why: &str) -> Result<&str, PatchError> {
        self.from.as_deref().ok_or_else(|| unfit(format!("{why}: operation, missing from field: {MISSING}")))
    }

    fn add(self, doc: &mut Value) -> Result<(), PatchError> {
        let path = self.path("add operation failed to decode path")?;
        let (parent, key) = find(doc, path).ok_or_else(|| unfit(format!("add operation does not apply: doc is missing path: \"{path}\": {MISSING}")))?;
        add(parent, &key, self.value.clone().unwrap_or_default()).map_err(|why| unfit(format!("error in add for path: '{path}': {why}")))
    }
    fn remove(self, doc: &mut Value) -> Result<(), PatchError> {
        let path = self.path("remove operation failed to decode path")?;
        let (parent, key) = find(doc, path).ok_or_else(|| unfit(format!("remove operation does not apply: doc is missing path: \"{path}\": {MISSING}")))?;
        remove(parent, &key).map(drop).map_err(|why| unfit(format!("error in remove for path: '{path}': {why}")))
    }
    fn replace(self, doc: &mut Value) -> Result<(), PatchError> {
        let path = self.path("replace operation failed to decode path: operation missing path field")?;
        if path.is_empty() {
            *doc = self.value.filter(|v| v.is_object() || v.is_array()).ok_or_else(|| unfit("replace operation value must be object or array: %!w(<nil>)"))?;
            return Ok(());
        }
        let (parent, key) = find(doc, path).ok_or_else(|| unfit(format!("replace operation does not apply: doc is missing path: {path}: {MISSING}")))?;
        let missing = || unfit(format!("replace operation does not apply: doc is missing key: {path}: {MISSING}"));
        let value = self.value.clone().unwrap_or_default();
        match parent {
            Value::Array(list) => *index(&key, list.len()).ok().and_then(|i| list.get_mut(i)).ok_or_else(missing)? = value,
            Value::Object(map) => drop(map.insert(key, value)),
            _ => return Err(missing()),
        }
        Ok(())
    }
    fn shift(self, doc: &mut Value) -> Result<(), PatchError> {
        let from = self.from("move operation failed to decode from")?;
        let (parent, key) = find(doc, from).ok_or_else(|| unfit(format!("move operation does not apply: doc is missing from path: {from}: {MISSING}")))?;
        let value = remove(parent, &key).map_err(|why| unfit(format!("error in move for path: '{key}': {why}")))?;
        let path = self.path("move operation failed to decode path: operation missing path field")?;
        let (parent, key) =
            find(doc, path).ok_or_else(|| unfit(format!("move operation does not apply: doc is missing destination path: {path}: {MISSING}")))?;
        add(parent, &key, value).map_err(|why| unfit(format!("error in move for path: '{path}': {why}")))
    }
    fn copy(self, doc: &mut Value, copied: &mut usize) -> Result<(), PatchError> {
        let from = self.from("copy operation failed to decode from")?;
        let (parent, key) = find(doc, from).ok_or_else(|| unfit(format!("copy operation does not apply: doc is missing from path: {from}: {MISSING}")))?;
        let value = get(parent, &key).map_err(|why| unfit(format!("error in copy for from: '{from}': {why}")))?.cloned();
        let path = self.path("copy operation failed to decode path")?;
        let (parent, key) =
            find(doc, path).ok_or_else(|| unfit(format!("copy operation does not apply: doc is missing destination path: {path}: {MISSING}")))?;
        *copied += value.as_ref().map_or(0, |v| v.to_string().len());
        if *copied > MAX_COPIED {
            return Err(unfit(format!("Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}")));
        }
        add(parent, &key, value.unwrap_or_default()).map_err(|why| unfit(format!("error while adding value during copy: {why}")))
    }
    fn test(self, doc: &mut Value) -> Result<(), PatchError> {
        let path = self.path("test operation failed to decode path: operation missing path field")?;
        let wanted = self.value.as_ref().unwrap_or(&Value::Null);
        let same = if path.is_empty() {
            doc == wanted
        } else {
            let (parent, key) = find(doc, path).ok_or_else(|| unfit(format!("test operation does not apply: is missing path: {path}: {MISSING}")))?;
            let value = get(parent, &key).map_err(|why| unfit(format!("error in test for path: '{path}': {why}")))?;
            value.unwrap_or(&Value::Null) == wanted
        };
        if same { Ok(()) } else { Err(PatchError::TestFailed(path.to_owned())) }
    }
}

/// What holds that which `path` names, and its key in it.
fn find<'d>(doc: &'d mut Value, path: &str) -> Option<(&'d mut Value, String)> {
    let (_, path) = path.split_once('/')?;
    let (parents, key) = path.rsplit_once('/').map_or((None, path), |(p, k)| (Some(p), k));
    let mut at = doc;
    for part in parents.into_iter().flat_map(|p| p.split('/')) {
        let part = unescaped(part);
        at = match at {
            Value::Object(map) => map.get_mut(&part)?,
            Value::Array(list) => {
                let i = index(&part, list.len()).ok()?;
                list.get_mut(i)?
            }
            _ => return None,
        };
    }
    (at.is_object() || at.is_array()).then(|| (at, unescaped(key)))
}

fn unescaped(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

fn number(key: &str) -> Result<i64, String> {
    let digits = key.strip_prefix(['+', '-']).unwrap_or(key);
    key.parse().map_err(|_| format!("strconv.Atoi: parsing {}: {}", go::quote(key), go::number_error(digits)))
}

/// Of `count` places, one that exists or could be had with one more.
fn place(n: i64, count: usize) -> Result<usize, String> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let at = if n < 0 { n + count } else { n };
    usize::try_from(at).ok().filter(|_| at < count).ok_or_else(|| format!("Unable to access invalid index: {n}: invalid index referenced"))
}

fn index(key: &str, count: usize) -> Result<usize, String> {
    place(number(key)?, count)
}

fn get<'v>(parent: &'v Value, key: &str) -> Result<Option<&'v Value>, String> {
    match parent {
        Value::Array(list) => index(key, list.len()).map(|i| list.get(i)),
        other => Ok(other.get(key)),
    }
}

fn add(parent: &mut Value, key: &str, value: Value) -> Result<(), String> {
    match parent {
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            let n = number(key).map_err(|why| format!("value was not a proper array index: '{key}': {why}"))?;
            let at = place(n, list.len() + 1)?;
            list.insert(at, value);
        }
        Value::Object(map) => drop(map.insert(key.to_owned(), value)),
        _ => return Err(MISSING.to_owned()),
    }
    Ok(())
}

fn remove(parent: &mut Value, key: &str) -> Result<Value, String> {
    match parent {
        Value::Array(list) => index(key, list.len()).map(|i| list.remove(i)),
        other => other.as_object_mut().and_then(|m| m.remove(key)).ok_or_else(|| format!("Unable to remove nonexistent key: {key}: {MISSING}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn run(p: Value) -> Result<Value, PatchError> {
        json_patch(&json!({"metadata": {"name": "a"}, "l": [1, 2], "a/b": {"~": 1}}), p.to_string().as_bytes())
    }

    #[test]
    fn operations() {
        assert_eq!(
            run(json!([{"op": "test", "path": "/metadata/finalizers", "value": null}, {"op": "add", "path": "/l/-", "value": 3}])).unwrap()["l"],
            json!([1, 2, 3])
        );
        assert_eq!(run(json!([{"op": "add", "path": "/l/0", "value": 0}, {"op": "remove", "path": "/l/-1"}])).unwrap()["l"], json!([0, 1]));
        assert_eq!(run(json!([{"op": "move", "from": "/a~1b/~0", "path": "/l/2"}])).unwrap()["l"], json!([1, 2, 1]));
        assert_eq!(run(json!([{"op": "replace", "path": "/l/1", "value": 9}, {"op": "copy", "from": "/l/1", "path": "/x"}])).unwrap()["x"], json!(9));
        assert_eq!(run(json!([{"op": "replace", "path": "", "value": {"n": 1}}])).unwrap(), json!({"n": 1}));
    }

    #[test]
    fn what_is_absent_reads_as_null() {
        assert_eq!(run(json!([{"op": "replace", "path": "/metadata/x", "value": 1}])).unwrap()["metadata"]["x"], 1);
        assert_eq!(run(json!([{"op": "copy", "from": "/metadata/none", "path": "/metadata/x"}])).unwrap()["metadata"]["x"], Value::Null);
        assert_eq!(run(json!([{"op": "add", "path": "/metadata/x"}])).unwrap()["metadata"], json!({"name": "a", "x": null}));
        // What is before the first slash is not looked at.
        assert_eq!(run(json!([{"op": "add", "path": "metadata/x", "value": 1}])).unwrap()["x"], 1);
    }

    #[test]
    fn refusals() {
        let unfit = |p: Value| match run(p) {
            Err(PatchError::Unfit(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(unfit(json!([{"op": "remove", "path": "/x"}])), "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value");
        assert_eq!(unfit(json!([{"op": "add", "path": "/x/y", "value": 1}])), "add operation does not apply: doc is missing path: \"/x/y\": missing value");
        assert_eq!(unfit(json!([{"op": "add", "path": "x", "value": 1}])), "add operation does not apply: doc is missing path: \"x\": missing value");
        assert_eq!(
            unfit(json!([{"op": "add", "path": "/l/7", "value": 1}])),
            "error in add for path: '/l/7': Unable to access invalid index: 7: invalid index referenced"
        );
        assert_eq!(unfit(json!([{"op": "remove", "path": "/l/x"}])), "error in remove for path: '/l/x': strconv.Atoi: parsing \"x\": invalid syntax");
        assert_eq!(
            unfit(json!([{"op": "remove", "path": "/l/9223372036854775808"}])),
            "error in remove for path: '/l/9223372036854775808': strconv.Atoi: parsing \"9223372036854775808\": value out of range"
        );
        assert_eq!(
            unfit(json!([{"op": "add", "path": "/l/-9223372036854775809", "value": 1}])),
            "error in add for path: '/l/-9223372036854775809': value was not a proper array index: '-9223372036854775809': strconv.Atoi: parsing \"-9223372036854775809\": value out of range"
        );
        assert_eq!(
            unfit(json!([{"op": "remove", "path": "/l/-9223372036854775808"}])),
            "error in remove for path: '/l/-9223372036854775808': Unable to access invalid index: -9223372036854775808: invalid index referenced"
        );
        assert_eq!(unfit(json!([{"op": "replace", "path": "/l/5", "value": 1}])), "replace operation does not apply: doc is missing key: /l/5: missing value");
        assert_eq!(unfit(json!([{"op": "burn", "path": "/l"}])), "Unexpected kind: burn");
        assert!(matches!(run(json!({"op": "remove"})), Err(PatchError::Malformed(_))));
        assert!(matches!(run(json!([{"op": "remove", "path": 1}])), Err(PatchError::Malformed(_))));
        assert_eq!(run(json!([{"op": "test", "path": "/metadata/name", "value": "b"}])), Err(PatchError::TestFailed("/metadata/name".into())));
    }

    #[test]
    fn copies_have_a_limit() {
        let long = json!({"a": "x".repeat(1 << 20)});
        let copy = json!([{"op": "copy", "from": "/a", "path": "/b"}, {"op": "copy", "from": "/a", "path": "/c"}, {"op": "copy", "from": "/a", "path": "/d"}]);
        assert!(matches!(json_patch(&long, copy.to_string().as_bytes()), Err(PatchError::Unfit(_))));
    }
}
