//! JSON patch.
use crate::PatchError;
use json_patch::{PatchOperation, TestOperation};
use serde_json::Value;

/// Upstream's limit.
const MAX_OPERATIONS: usize = 10_000;

/// Applies a JSON patch. A `test` of an absent path against null passes, as it does upstream.
pub fn json_patch(target: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let operations = match serde_json::from_slice::<Value>(patch).map_err(|_| PatchError::Malformed("invalid JSON patch".into()))? {
        Value::Array(list) => list,
        other => return Err(PatchError::Malformed(format!("error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp", json_type(&other)))),
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooMany { max: MAX_OPERATIONS, got: operations.len() });
    }
    let mut out = target.clone();
    for op in operations {
        let op: PatchOperation = serde_json::from_value(op).map_err(|e| PatchError::Unfit(e.to_string()))?;
        if is_test_of_nothing(&op, &out) {
            continue;
        }
        json_patch::patch(&mut out, std::slice::from_ref(&op)).map_err(|e| match &op {
            PatchOperation::Test(t) if out.pointer(t.path.as_str()).is_some() => PatchError::TestFailed(t.path.to_string()),
            _ => PatchError::Unfit(e.to_string()),
        })?;
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

fn is_test_of_nothing(op: &PatchOperation, doc: &Value) -> bool {
    matches!(op, PatchOperation::Test(TestOperation { path, value: Value::Null }) if doc.pointer(path.as_str()).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[test]
    fn operations() {
        let doc = json!({"metadata": {"name": "a"}, "l": [1, 2]});
        let run = |p: Value| json_patch(&doc, p.to_string().as_bytes());
        assert_eq!(run(json!([{"op": "test", "path": "/metadata/finalizers", "value": null}, {"op": "add", "path": "/l/-", "value": 3}])).unwrap()["l"], json!([1, 2, 3]));
        assert!(matches!(run(json!([{"op": "remove", "path": "/x"}])), Err(PatchError::Unfit(_))));
        assert!(matches!(run(json!({"op": "remove"})), Err(PatchError::Malformed(_))));
        assert!(matches!(run(json!([{"op": "test", "path": "/metadata/name", "value": "b"}])), Err(PatchError::TestFailed(_))));
    }
}
