//! ConversionReview: the question, and an answer that is not believed.
use skiff_json::{Map, Value, json};
use skiff_meta::value::{at, text};
use skiff_validation::metadata;

const GROUP: &str = "apiextensions.k8s.io";

/// The first version that the webhook speaks and we do.
pub fn version(spoken: &[String]) -> Result<&str, String> {
    let known = spoken.iter().find(|v| matches!(v.as_str(), "v1" | "v1beta1"));
    known.map(String::as_str).ok_or_else(|| "no supported conversion review versions".to_owned())
}

/// `uid` ties the answer to the question.
pub fn question(objects: &[Value], wanted: &str, version: &str, uid: &str) -> Value {
    json!({
        "kind": "ConversionReview",
        "apiVersion": format!("{GROUP}/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
    })
}

/// The objects of an answer that says it succeeded.
pub fn answer(mut review: Value, version: &str, uid: &str) -> Result<Vec<Value>, String> {
    let (api_version, kind) = (text(&review, "apiVersion"), text(&review, "kind"));
    // The first beta checked neither.
    let strict = version == "v1";
    if strict && (kind != "ConversionReview" || api_version != format!("{GROUP}/v1")) {
        let got = if api_version.is_empty() { format!("/, Kind={kind}") } else { format!("{api_version}, Kind={kind}") };
        return Err(format!("expected webhook response of {GROUP}/v1, Kind=ConversionReview, got {got}"));
    }
    if !at(&review, "response").is_some_and(Value::is_object) {
        return Err("no response provided".into());
    }
    let given = text(&review, "response.uid");
    if strict && given != uid {
        return Err(format!("expected response.uid={uid:?}, got {given:?}"));
    }
    let (status, message) = (text(&review, "response.result.status"), text(&review, "response.result.message"));
    if status != "Success" {
        return Err(if message.is_empty() { format!("response.result.status was '{status}', not 'Success'") } else { message.to_owned() });
    }
    match review["response"]["convertedObjects"].take() {
        Value::Array(all) => Ok(all),
        _ => Ok(Vec::new()),
    }
}

/// Checks what came back against what was sent, and gives each object its own metadata again.
pub fn settle(sent: &[Value], converted: Vec<Value>, wanted: &str) -> Result<Vec<Value>, String> {
    if converted.len() != sent.len() {
        return Err(format!("{} objects, expected {}", converted.len(), sent.len()));
    }
    sent.iter().zip(converted).map(|(before, after)| one(before, after, wanted)).collect()
}

fn one(before: &Value, mut after: Value, wanted: &str) -> Result<Value, String> {
    // Upstream converts one by one.
    let invalid = |why: String| format!("invalid object at index 0: {why}");
    if !after.is_object() || text(&after, "kind").is_empty() {
        return Err(invalid("Object 'Kind' is missing in the converted object".into()));
    }
    let got = text(&after, "apiVersion");
    if got != wanted {
        return Err(invalid(format!("invalid groupVersion (expected {wanted}, received {got})")));
    }
    let (kind, got) = (text(before, "kind"), text(&after, "kind"));
    if got != kind {
        return Err(invalid(format!("invalid kind (expected {kind}, received {got})")));
    }
    for (path, name) in [("metadata.name", "name"), ("metadata.namespace", "namespace"), ("metadata.uid", "UID")] {
        let (own, got) = (text(before, path), text(&after, path));
        if own != got {
            return Err(format!("invalid object: must have the same {name}: {own} != {got}"));
        }
    }
    let restored = restore(&before["metadata"], after.get("metadata")).map_err(|why| format!("invalid metadata: {why}"))?;
    after["metadata"] = restored;
    Ok(after)
}

/// The metadata as it was, with the labels and annotations of the answer.
fn restore(own: &Value, given: Option<&Value>) -> Result<Value, String> {
    let given = given.ok_or("missing metadata in converted object")?;
    let Value::Object(given) = given else { return Err(format!("invalid metadata of type {} in converted object", go(given))) };
    let mut meta = own.as_object().cloned().unwrap_or_default();
    for key in ["labels", "annotations"] {
        match given.get(key) {
            None | Some(Value::Null) => {
                meta.shift_remove(key);
            }
            Some(Value::Object(all)) => {
                if let Some((k, v)) = all.iter().find(|(_, v)| !v.is_string()) {
                    return Err(format!("metadata.{key}[{k}] must be a string, but is {} in converted object", go(v)));
                }
                if meta.get(key).and_then(Value::as_object) != Some(all) {
                    changed(key, all)?;
                }
                meta.insert(key.to_owned(), Value::Object(all.clone()));
            }
            Some(other) => return Err(format!("invalid metadata.{key} of type {} in converted object", go(other))),
        }
    }
    Ok(Value::Object(meta))
}

/// Labels and annotations that the webhook made up must be such as users may write.
fn changed(key: &str, all: &Map) -> Result<(), String> {
    let wrong = metadata::tags(&json!({"metadata": {key: all}}));
    let told: Vec<String> = wrong.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    match told.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

/// A value's type as Go names it.
fn go(v: &Value) -> &'static str {
    match v {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> Value {
        json!({"apiVersion": format!("g.io/{version}"), "kind": "Thing", "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 2, "labels": {"x": "1"}}, "spec": {"v": version}})
    }
    fn settled(change: impl FnOnce(&mut Value)) -> Result<Value, String> {
        let mut after = object("v2");
        change(&mut after);
        settle(&[object("v1")], vec![after], "g.io/v2").map(|mut all| all.remove(0))
    }

    #[test]
    fn versions_of_reviews() {
        let all = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(version(&all(&["v9", "v1beta1", "v1"])), Ok("v1beta1"));
        assert!(version(&all(&["v9"])).is_err());
    }

    #[test]
    fn answers() {
        let good = |u: &str| json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": {"uid": u, "result": {"status": "Success"}, "convertedObjects": [1]}});
        assert_eq!(answer(good("u"), "v1", "u"), Ok(vec![json!(1)]));
        for (review, version, want) in [
            (good("x"), "v1", "expected response.uid=\"u\", got \"x\""),
            (json!({}), "v1", "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /, Kind="),
            (json!({}), "v1beta1", "no response provided"),
            (json!({"response": {"result": {"status": "Failure", "message": "no"}}}), "v1beta1", "no"),
            (json!({"response": {}}), "v1beta1", "response.result.status was '', not 'Success'"),
        ] {
            assert_eq!(answer(review, version, "u"), Err(want.to_owned()));
        }
        assert!(answer(good("x"), "v1beta1", "u").is_ok());
    }

    #[test]
    fn objects_keep_who_they_are() {
        let v = settled(|v| {
            v["metadata"]["generation"] = 9.into();
            v["metadata"]["labels"] = json!({"y": "2"});
            v["metadata"]["annotations"] = json!({"z": "3"});
        });
        assert_eq!(
            v.unwrap()["metadata"],
            json!({"name": "a", "namespace": "n", "uid": "u", "generation": 2, "labels": {"y": "2"}, "annotations": {"z": "3"}})
        );
        let cases: [(fn(&mut Value), &str); 7] = [
            (|v| v["metadata"]["name"] = "b".into(), "invalid object: must have the same name: a != b"),
            (|v| v["metadata"]["uid"] = "w".into(), "invalid object: must have the same UID: u != w"),
            (|v| v["kind"] = "Other".into(), "invalid object at index 0: invalid kind (expected Thing, received Other)"),
            (|v| v["apiVersion"] = "g.io/v3".into(), "invalid object at index 0: invalid groupVersion (expected g.io/v2, received g.io/v3)"),
            (|v| v["metadata"]["labels"] = json!({"x": 1}), "invalid metadata: metadata.labels[x] must be a string, but is int64 in converted object"),
            (|v| v["metadata"]["labels"] = json!([]), "invalid metadata: invalid metadata.labels of type []interface {} in converted object"),
            (|v| *v = json!("garbage"), "invalid object at index 0: Object 'Kind' is missing in the converted object"),
        ];
        for (change, want) in cases {
            assert_eq!(settled(change), Err(want.to_owned()));
        }
        assert!(settled(|v| v["metadata"]["labels"] = json!({"-": "x"})).unwrap_err().contains("invalid metadata: metadata.labels: Invalid value"));
        assert_eq!(settle(&[object("v1")], vec![], "g.io/v2"), Err("0 objects, expected 1".into()));
    }
}
