//! An action as the spec of a SubjectAccessReview, and a status as a decision. Pure.
use skiff_json::{Map, Value, json};
use skiff_meta::SetOp;
use skiff_policy::{Action, Decision, Selectors, Verdict};
use skiff_request::{Target, User};

/// `groups` is `group` in v1beta1.
pub(super) fn spec(user: &User, action: &Action, beta: bool) -> Value {
    let mut spec = Map::new();
    match action {
        Action::Resource { verb, target: t, selectors } => {
            let mut a: Map = attributes(verb, t).into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), v.into())).collect();
            add_selectors(&mut a, selectors);
            spec.insert("resourceAttributes", Value::Object(a));
        }
        Action::Path { verb, path } => drop(spec.insert("nonResourceAttributes", json!({"path": path, "verb": verb}))),
    }
    if !user.name.is_empty() {
        spec.insert("user", user.name.clone().into());
    }
    if !user.groups.is_empty() {
        spec.insert(if beta { "group" } else { "groups" }, json!(user.groups));
    }
    if !user.extra.is_empty() {
        spec.insert("extra", json!(user.extra));
    }
    if !user.uid.is_empty() {
        spec.insert("uid", user.uid.clone().into());
    }
    Value::Object(spec)
}

fn attributes<'a>(verb: &'a str, t: &'a Target) -> [(&'static str, &'a str); 7] {
    [
        ("namespace", &t.namespace),
        ("verb", verb),
        ("group", &t.resource.group),
        ("version", &t.resource.version),
        ("resource", &t.resource.resource),
        ("subresource", &t.subresource),
        ("name", &t.name),
    ]
}

fn add_selectors(a: &mut Map, s: &Selectors) {
    if !s.fields.is_empty() {
        let all: Vec<Value> =
            s.fields.iter().map(|(key, value, equal)| json!({"key": key, "operator": if *equal { "In" } else { "NotIn" }, "values": [value]})).collect();
        a.insert("fieldSelector", json!({"requirements": all}));
    }
    // Others narrow further: leaving them out asks for more.
    let told = |op| match op {
        SetOp::In => Some("In"),
        SetOp::NotIn => Some("NotIn"),
        SetOp::Exists => Some("Exists"),
        SetOp::DoesNotExist => Some("DoesNotExist"),
        SetOp::Gt | SetOp::Lt => None,
    };
    let all: Vec<Value> = s
        .labels
        .iter()
        .filter_map(|r| {
            let mut v = json!({"key": r.key, "operator": told(r.op)?});
            if !r.values.is_empty() {
                v["values"] = json!(r.values);
            }
            Some(v)
        })
        .collect();
    if !all.is_empty() {
        a.insert("labelSelector", json!({"requirements": all}));
    }
}

/// What match conditions see as `request`: the spec with empty values in place of those that are left out.
pub(super) fn request(user: &User, action: &Action) -> Value {
    let mut v = json!({"user": user.name, "groups": user.groups, "extra": user.extra, "uid": user.uid});
    match action {
        Action::Resource { verb, target: t, selectors } => {
            let mut a: Map = attributes(verb, t).into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
            add_selectors(&mut a, selectors);
            v["resourceAttributes"] = Value::Object(a);
        }
        Action::Path { verb, path } => v["nonResourceAttributes"] = json!({"path": path, "verb": verb}),
    }
    v
}

pub(super) fn verdict(status: &Value) -> Verdict {
    let flag = |k: &str| status[k] == true;
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    let (decision, error) = match (flag("denied"), flag("allowed")) {
        (true, true) => (Decision::Deny(reason.clone()), "webhook subject access review returned both allow and deny response".to_owned()),
        (true, false) => (Decision::Deny(reason.clone()), String::new()),
        (false, true) => (Decision::Allow, String::new()),
        (false, false) => (Decision::NoOpinion(reason.clone()), String::new()),
    };
    Verdict { decision, reason, error }
}
