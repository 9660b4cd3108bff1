//! Strategic merge patch: the order of merged lists.
use crate::list::{Places, key_eq, merge_unordered};
use crate::strategic::Facts;
use crate::{PatchError, strategic};
use skiff_json::Value;

/// A list with `$setElementOrder`: items that the order names stand as it says, the server's own stand where they stood.
/// None: there is no such list on either side.
pub(crate) fn merge_ordered(old: Option<&Value>, patch: Option<&Value>, order: &Value, facts: Facts, field: &str) -> Result<Option<Value>, PatchError> {
    let order = order.as_array().ok_or_else(|| PatchError::Malformed(format!("invalid patch format of {}{field}", strategic::SET_ORDER)))?;
    let (old, has_old) = match old {
        Some(Value::Array(a)) => (a.as_slice(), true),
        _ => (&[][..], false),
    };
    let (patch, has_patch) = match patch {
        Some(Value::Array(a)) => (a.as_slice(), true),
        Some(Value::Null) => return Ok(None),
        _ => (&[][..], false),
    };
    if !has_old && !has_patch {
        return Ok(None);
    }
    check_order(patch, order, facts.merge_key)?;
    let merged = if has_patch { merge_unordered(old, patch, facts)? } else { old.to_vec() };
    Ok(Some(Value::Array(arrange(merged, &Places::of(order, facts.merge_key), &Places::of(old, facts.merge_key)))))
}

fn misordered(patch: &[Value], order: &[Value]) -> PatchError {
    let list = |items: &[Value]| strategic::shown(&Value::Array(items.to_vec()));
    PatchError::Malformed(format!(
        "The order in patch list:\n{}\n doesn't match {} list:\n{}\n",
        list(patch),
        strategic::SET_ORDER.trim_end_matches('/'),
        list(order)
    ))
}

/// The patch's items must stand in the order that it declares.
fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<(), PatchError> {
    let mut at = 0;
    for item in patch.iter().filter(|p| p.get(strategic::DIRECTIVE).is_none()) {
        match order[at..].iter().position(|o| key_eq(o, item, key)) {
            Some(n) => at += n + 1,
            None => return Err(misordered(patch, order)),
        }
    }
    Ok(())
}

/// Items that stand in `wanted` in its order, the others in the server's, merged like two sorted lists by the server's
/// order.
pub(crate) fn arrange(merged: Vec<Value>, wanted: &Places<'_>, server: &Places<'_>) -> Vec<Value> {
    let (mut ours, mut theirs): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|i| wanted.find(i).is_some());
    ours.sort_by_cached_key(|i| wanted.find(i));
    theirs.sort_by_cached_key(|i| server.find(i).unwrap_or(usize::MAX));
    let (mut left, mut right) = (theirs.into_iter().peekable(), ours.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let first_left = match (left.peek(), right.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(l), Some(r)) => matches!((server.find(l), server.find(r)), (Some(a), Some(b)) if a < b),
        };
        out.extend(if first_left { left.next() } else { right.next() });
    }
}

#[cfg(test)]
mod tests {
    use crate::strategic_patch;
    use skiff_json::{Value, json};

    fn patched(target: Value, patch: Value) -> Value {
        let ty = skiff_schema::by_gvk("", "v1", "Pod").unwrap();
        strategic_patch(&target, &patch, ty).unwrap()
    }
    fn names(v: &Value) -> Vec<&str> {
        v["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn another_order_is_told_as_go_prints_it() {
        let ty = skiff_schema::by_gvk("", "v1", "Pod").unwrap();
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}, {"name": "a"}]}});
        let told = strategic_patch(&json!({"spec": {"containers": [{"name": "a"}]}}), &patch, ty).unwrap_err().to_string();
        assert_eq!(told, "The order in patch list:\n[map[name:b] map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:a] map[name:b]]\n");
    }

    #[test]
    fn containers_merge_by_name() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "2"}]}});
        let got = patched(pod.clone(), json!({"spec": {"containers": [{"name": "b", "image": "3"}, {"name": "a", "env": [{"name": "Y", "value": "2"}]}]}}));
        assert_eq!(names(&got), ["b", "a"]);
        assert_eq!(got["spec"]["containers"][1]["env"].as_array().unwrap().len(), 2);
        let got = patched(pod.clone(), json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}));
        assert_eq!(names(&got), ["b"]);
        let got = patched(pod.clone(), json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}));
        assert_eq!(names(&got), ["z"]);
        let got = patched(
            pod,
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}], "containers": [{"name": "c", "image": "4"}]}}),
        );
        assert_eq!(names(&got), ["b", "a", "c"]);
    }
    #[test]
    fn scalars_directives_and_nulls() {
        let pod = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let got = patched(pod.clone(), json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"x": null, "y": "2"}}}));
        assert_eq!(got["metadata"], json!({"finalizers": ["b"], "labels": {"y": "2"}}));
        let got = patched(pod.clone(), json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}));
        assert_eq!(got["spec"]["volumes"], json!([{"name": "v", "hostPath": {"path": "/x"}}]));
        let got = patched(pod, json!({"metadata": {"labels": {"$patch": "replace", "z": "3"}}}));
        assert_eq!(got["metadata"]["labels"], json!({"z": "3"}));
    }
}
