//! Generated cases of single fields: each of the golden object's put onto a seed, each of a seed's turned into something
//! else, each changed in an update. All of them are dry runs. Pure.

use super::kinds::{Kind, Seed};
use super::request::{Edit, Request};
use skiff_json::{Value, json};

/// A template's fields are those of the pod; they are varied down to this depth only, and whole in the pod itself.
const TEMPLATE_DEPTH: usize = 1;

/// What a value is turned into when its type is varied.
fn odd() -> [Value; 6] {
    [json!("x"), json!(7), json!([]), json!({}), Value::Null, json!(true)]
}

/// A place in an object: the steps to it.
type Place = Vec<String>;

fn pointer(place: &[String]) -> String {
    place.iter().map(|s| format!("/{}", s.replace('~', "~0").replace('/', "~1"))).collect()
}

/// All places of a value, parents before children; lists by their first element.
fn places(value: &Value, kind: &Kind) -> Vec<Place> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), kind.kind == "Pod", &mut found);
    found
}

fn walk(value: &Value, at: &mut Place, whole: bool, found: &mut Vec<Place>) {
    let templates = at.iter().position(|s| s == "template" || s == "jobTemplate").map_or(0, |i| at.len() - i);
    if !whole && templates > TEMPLATE_DEPTH + 2 {
        return;
    }
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.to_string(), v)).collect(),
        Value::Array(list) => list.first().map(|v| ("0".to_owned(), v)).into_iter().collect(),
        _ => return,
    };
    for (step, child) in children {
        if at.is_empty() && ["apiVersion", "kind", "metadata", "status"].contains(&step.as_str()) {
            continue;
        }
        at.push(step);
        found.push(at.clone());
        walk(child, at, whole, found);
        at.pop();
    }
}

fn edited(object: &Value, edits: &[Edit]) -> Value {
    let mut object = object.clone();
    edits.iter().for_each(|e| e.apply(&mut object));
    object
}

/// Creates: golden fields on the first seed, other types in every seed.
pub fn creates(kind: &Kind) -> Vec<Request> {
    let post = |name: String, object: Value| Request::new(name, "POST", format!("{}?dryRun=All", kind.collection())).json(object);
    let mut requests = Vec::new();
    if let (Some(golden), Some(seed)) = (&kind.golden, kind.seeds.first()) {
        requests.push(post("create golden".into(), edited(golden, &[Edit::remove("/metadata/namespace"), Edit::remove("/metadata/resourceVersion")])));
        for place in places(golden, kind) {
            let at = pointer(&place);
            if let Some(value) = golden.pointer(&at) {
                requests.push(post(format!("create golden{at}"), edited(&seed.object, &[Edit::set(at, value.clone())])));
            }
        }
    }
    for seed in &kind.seeds {
        requests.push(post(format!("create {}", seed.tag), seed.object.clone()));
        for place in places(&seed.object, kind) {
            let at = pointer(&place);
            requests.extend(
                odd()
                    .into_iter()
                    .filter(|v| seed.object.pointer(&at) != Some(v))
                    .map(|v| post(format!("create {}{at}={v}", seed.tag), edited(&seed.object, &[Edit::set(at.clone(), v)]))),
            );
            requests.push(post(format!("create {}{at} without", seed.tag), edited(&seed.object, &[Edit::remove(at)])));
        }
    }
    requests
}

/// Updates of the stored object, a field each.
pub fn updates(kind: &Kind, seed: &Seed, item: &str) -> Vec<Request> {
    let put = |name: String, edit: Edit| Request::new(name, "PUT", format!("{item}?dryRun=All")).stored([edit]);
    let mut requests = Vec::new();
    for place in places(&seed.object, kind) {
        let at = pointer(&place);
        let changed = seed.object.pointer(&at).and_then(|v| match v {
            Value::String(s) => Some(json!(format!("{s}x"))),
            Value::Number(n) => n.as_i64().map(|n| json!(n + 1)),
            Value::Bool(b) => Some(json!(!b)),
            _ => None,
        });
        requests.extend(changed.map(|v| put(format!("update {}{at}", seed.tag), Edit::set(at.clone(), v))));
        requests.push(put(format!("update {}{at} without", seed.tag), Edit::remove(at)));
    }
    requests
}

/// Updates of the status: the golden one whole, then its fields on the stored one.
pub fn statuses(kind: &Kind, item: &str) -> Vec<Request> {
    let Some(golden) = kind.golden.as_ref().and_then(|g| g.get("status")).filter(|_| kind.sub("status")) else { return Vec::new() };
    let put = |name: String, edit: Edit| Request::new(name, "PUT", format!("{item}/status?dryRun=All")).stored([edit]);
    let mut requests = vec![put("status golden".into(), Edit::set("/status", golden.clone()))];
    for place in places(golden, kind) {
        let at = pointer(&place);
        if let Some(value) = golden.pointer(&at) {
            requests.push(put(format!("status golden{at}"), Edit::set(format!("/status{at}"), value.clone())));
            requests.extend(odd().into_iter().take(4).map(|v| put(format!("status{at}={v}"), Edit::set(format!("/status{at}"), v))));
        }
    }
    requests
}
