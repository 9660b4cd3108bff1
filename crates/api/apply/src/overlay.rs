//! A configuration laid over an object without managers, as a MutatingAdmissionPolicy does: what it sets is set, nothing
//! is withdrawn and nobody owns anything.
use crate::{
    Relation, Shape,
    merge::merge,
    walk::{relation, to_set},
};
use skiff_json::Value;

/// The error says what in `config` does not fit. Atomic lists and maps may not be set: all of them that the
/// configuration leaves out would be lost.
pub fn overlay(object: &Value, config: &Value, shape: Shape<'_>) -> Result<Value, String> {
    to_set(config, shape, true).map_err(|e| format!("failed to convert patch object to typed object: {e}"))?;
    let mut found = Vec::new();
    atomics(config, shape, &mut String::new(), &mut found);
    if !found.is_empty() {
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}", found.join(", ")));
    }
    Ok(merge(object, config, shape))
}

/// Calls `f` for the parts of a map or list, each with its own end of `path`.
fn parts(v: &Value, shape: Shape<'_>, path: &mut String, mut f: impl FnMut(&Value, Shape<'_>, &mut String)) {
    let end = path.len();
    let mut part = |name: String, v: &Value, shape: Shape<'_>| {
        path.push_str(&name);
        f(v, shape, path);
        path.truncate(end);
    };
    match v {
        Value::Object(m) => m.iter().for_each(|(k, x)| part(format!(".{k}"), x, shape.field(k))),
        Value::Array(l) => l.iter().enumerate().for_each(|(i, x)| part(format!("[{i}]"), x, shape.item())),
        _ => {}
    }
}

fn atomics(v: &Value, shape: Shape<'_>, path: &mut String, found: &mut Vec<String>) {
    if (v.is_object() || v.is_array()) && relation(shape, v) == Relation::Atomic {
        found.push(path.clone());
    }
    parts(v, shape, path, |v, shape, path| {
        if !matches!(shape, Shape::Deduced) {
            atomics(v, shape, path, found);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn over(config: Value) -> Result<Value, String> {
        let object = json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "image": "x"}]}}}});
        overlay(&object, &config, Shape::Struct(skiff_schema::by_gvk("apps", "v1", "Deployment").unwrap()))
    }

    #[test]
    fn what_is_set_is_set() {
        let sidecar = json!({"spec": {"template": {"spec": {"initContainers": [{"name": "s"}], "containers": [{"name": "a", "tty": true}]}}}});
        let want = json!({"spec": {"replicas": 1, "template": {"spec": {"initContainers": [{"name": "s"}], "containers": [{"name": "a", "image": "x", "tty": true}]}}}});
        assert_eq!(over(sidecar), Ok(want));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let command = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "command": ["x"]}]}}}});
        assert_eq!(
            over(command),
            Err("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.template.spec.containers[0].command".into())
        );
        let selector = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}});
        assert_eq!(over(selector), Err("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector".into()));
        assert_eq!(
            over(json!({"spec": {"nothing": 1}})),
            Err("failed to convert patch object to typed object: .spec.nothing: field not declared in schema".into())
        );
        assert!(over(json!({"spec": {"template": {"spec": {"containers": [{"image": "y"}]}}}})).is_err());
    }
}
