//! Who set the replicas, between an object and its `scale` subresource: a Scale has one field of it under another path and
//! another version.
use crate::{Element, Entry, FieldSet, Managed};
use skiff_json::Value;

const SCALE: &str = "autoscaling/v1";

fn set_of(path: &[Element]) -> FieldSet {
    let mut set = FieldSet::default();
    set.insert(path);
    set
}

fn in_scale() -> Vec<Element> {
    vec![Element::field("spec"), Element::field("replicas")]
}

fn in_object(desired: &str) -> Vec<Element> {
    desired.split('.').map(Element::field).collect()
}

/// The managers of a Scale, out of the object's: those that own the replicas at the dotted path `desired`.
pub fn managers_of_scale(object: Option<&Value>, desired: &str) -> Vec<Value> {
    let path = in_object(desired);
    let all = Managed::read(object).unwrap_or_default();
    let owners = all.0.into_iter().filter(|(_, e)| e.set.has(&path));
    Managed(owners.map(|(id, e)| (id, Entry { api_version: SCALE.into(), set: set_of(&in_scale()), time: e.time })).collect(), Vec::new()).write()
}

/// The object's managers after its Scale has those of `scale`. A manager of the object that the Scale no longer knows has
/// lost the replicas; what the Scale's managers own is of the object's version again, and without a time unless it had one.
pub fn managers_of_scaled(object: Option<&Value>, scale: Option<&Value>, desired: &str, api_version: &str) -> Vec<Value> {
    let path = in_object(desired);
    let before = Managed::read(object).unwrap_or_default();
    let mut theirs = Managed::read(scale).unwrap_or_default();
    let mut out = Managed::default();
    for (id, e) in &before.0 {
        if !e.set.has(&path) || theirs.0.remove(id).is_some() {
            out.0.insert(id.clone(), e.clone());
            continue;
        }
        let rest = e.set.difference(&set_of(&path));
        if !rest.is_empty() {
            out.0.insert(id.clone(), Entry { set: rest, ..e.clone() });
        }
    }
    for (id, e) in theirs.0 {
        if e.set.has(&in_scale()) {
            let time = before.0.get(&id).and_then(|e| e.time.clone());
            out.0.insert(id, Entry { api_version: api_version.to_owned(), set: set_of(&path), time });
        }
    }
    out.write()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shape, Tracker};
    use skiff_json::json;

    #[test]
    fn an_apply_of_a_scale_takes_the_replicas_from_the_object() {
        let owner = |name: &str, operation: &str, fields: Value| json!({"manager": name, "operation": operation, "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let object =
            json!([owner("one", "Apply", json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})), owner("two", "Update", json!({"f:spec": {"f:paused": {}}}))]);
        let scale = managers_of_scale(Some(&object), "spec.replicas");
        assert_eq!(scale.len(), 1);
        assert_eq!(scale[0]["apiVersion"], "autoscaling/v1");
        let live = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "managedFields": scale}, "spec": {"replicas": 1}});
        let shape = Shape::Struct(skiff_schema::by_gvk("autoscaling", "v1", "Scale").unwrap());
        let config = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 2}});
        let tracker = Tracker::new(shape, "autoscaling/v1", "scale", &[]);
        assert!(tracker.apply(&live, &config, "three", false, "2026-01-01T00:00:01Z").is_err());
        let (new, _) = tracker.apply(&live, &config, "three", true, "2026-01-01T00:00:01Z").unwrap();
        let after = managers_of_scaled(Some(&object), new.pointer("/metadata/managedFields"), "spec.replicas", "apps/v1");
        let show: Vec<String> =
            after.iter().map(|e| format!("{} {} {}", e["manager"].as_str().unwrap(), e["apiVersion"].as_str().unwrap(), e["fieldsV1"])).collect();
        assert_eq!(
            show,
            [r#"three apps/v1 {"f:spec":{"f:replicas":{}}}"#, r#"one apps/v1 {"f:spec":{"f:paused":{}}}"#, r#"two apps/v1 {"f:spec":{"f:paused":{}}}"#]
        );
    }
}
