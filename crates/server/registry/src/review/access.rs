//! The SubjectAccessReview family: what is asked, whether it is asked well, and how the answer is told. Pure.
use crate::value;
use skiff_json::{Map, Value, json};
use skiff_meta::{Cause, GroupVersionResource, LabelSelector, Requirement, SetOp};
use skiff_policy::{Action, Decision, Selectors, Verdict};
use skiff_request::Target;

/// The action, and what of its selectors could not be understood: that is ignored, which asks for more.
pub(super) fn question(v: &Value) -> (Action, Vec<String>) {
    let Some(a) = value::at(v, "spec.resourceAttributes").filter(|a| !a.is_null()) else {
        let text = |k| value::text(v, k).to_owned();
        return (Action::Path { verb: text("spec.nonResourceAttributes.verb"), path: text("spec.nonResourceAttributes.path") }, Vec::new());
    };
    let text = |k| value::text(a, k).to_owned();
    let version = if text("version").is_empty() { "*".to_owned() } else { text("version") };
    let target = Target::new(GroupVersionResource::new(text("group"), version, text("resource")), text("namespace"), text("name")).sub(text("subresource"));
    let (mut fields, bad_fields) = fields(&a["fieldSelector"]);
    let (labels, bad_labels) = labels(&a["labelSelector"]);
    let mut errors = Vec::new();
    for (name, bad, some) in [("field", bad_fields, !fields.is_empty()), ("label", bad_labels, !labels.is_empty())] {
        if bad {
            errors.push(format!("spec.resourceAttributes.{name}Selector {}ignored due to parse error", if some { "partially " } else { "" }));
        }
    }
    fields.shrink_to_fit();
    (Action::Resource { verb: text("verb"), target, selectors: Selectors { fields, labels } }, errors)
}

/// The terms of a field selector, and whether a part was not understood.
fn fields(v: &Value) -> (Vec<(String, String, bool)>, bool) {
    let given = value::list(v, "requirements");
    if given.is_empty() {
        let (s, [_, wrong]) = Selectors::parse("", value::text(v, "rawSelector"));
        return (s.fields, wrong.is_some());
    }
    let term = |r: &Value| match (value::text(r, "operator"), value::list(r, "values")) {
        (op @ ("In" | "NotIn"), [Value::String(one)]) => Some((value::text(r, "key").to_owned(), one.clone(), op == "In")),
        _ => None,
    };
    let terms: Vec<_> = given.iter().filter_map(term).collect();
    let bad = terms.len() < given.len();
    (terms, bad)
}

fn labels(v: &Value) -> (Vec<Requirement>, bool) {
    let given = value::list(v, "requirements");
    if given.is_empty() {
        let (s, [wrong, _]) = Selectors::parse(value::text(v, "rawSelector"), "");
        return (s.labels, wrong.is_some());
    }
    let one = |r: &Value| {
        let read = LabelSelector::from_json(Some(&json!({"matchExpressions": [r]}))).ok()?.requirements.pop()?;
        let plain = matches!(read.op, SetOp::In | SetOp::NotIn | SetOp::Exists | SetOp::DoesNotExist) && skiff_meta::is_qualified_name(&read.key).is_ok();
        let counted = matches!(read.op, SetOp::In | SetOp::NotIn) != read.values.is_empty();
        (plain && counted && read.values.iter().all(|v| skiff_meta::is_label_value(v).is_ok())).then_some(read)
    };
    let read: Vec<_> = given.iter().filter_map(one).collect();
    let bad = read.len() < given.len();
    (read, bad)
}

/// The status of the review.
pub(super) fn answer(verdict: Verdict, errors: Vec<String>) -> Value {
    let mut status = Map::new();
    status.insert("allowed", (verdict.decision == Decision::Allow).into());
    if matches!(verdict.decision, Decision::Deny(_)) {
        status.insert("denied", true.into());
    }
    if !verdict.reason.is_empty() {
        status.insert("reason", verdict.reason.into());
    }
    let errors: Vec<String> = Some(verdict.error).filter(|e| !e.is_empty()).into_iter().chain(errors).collect();
    if !errors.is_empty() {
        status.insert("evaluationError", errors.join("; ").into());
    }
    Value::Object(status)
}

/// What is wrong with a review, in upstream's words. `local` is the namespace of the path of a LocalSubjectAccessReview;
/// `own` says that it is about who asks.
pub(super) fn wrong(v: &Value, own: bool, local: Option<&str>) -> Vec<Cause> {
    let mut out = Vec::new();
    let present = |path| value::at(v, path).filter(|x| !x.is_null());
    let (resource, path) = (present("spec.resourceAttributes"), present("spec.nonResourceAttributes"));
    if resource.is_some() == path.is_some() {
        out.push(invalid("spec", path.unwrap_or(&Value::Null), "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
    }
    if !own && value::text(v, "spec.user").is_empty() && value::list(v, "spec.groups").is_empty() {
        out.push(invalid("spec.user", &json!(""), "at least one of user or group must be specified"));
    }
    if let Some(a) = resource {
        selector(&a["fieldSelector"], "spec.resourceAttributes.fieldSelector", false, &mut out);
        selector(&a["labelSelector"], "spec.resourceAttributes.labelSelector", true, &mut out);
    }
    let named = v["metadata"].as_object().is_some_and(|m| m.iter().any(|(k, x)| k != "managedFields" && !(local.is_some() && k == "namespace") && !empty(x)));
    if named {
        out.push(invalid("metadata", &v["metadata"], if local.is_some() { "must be empty except for namespace" } else { "must be empty" }));
    }
    if let Some(namespace) = local {
        let given = value::text(v, "spec.resourceAttributes.namespace");
        if resource.is_some() && given != namespace {
            out.push(invalid("spec.resourceAttributes.namespace", &json!(given), "must match metadata.namespace"));
        }
        if let Some(path) = path {
            out.push(invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request"));
        }
    }
    out
}

fn empty(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

fn selector(v: &Value, at: &str, of_labels: bool, out: &mut Vec<Cause>) {
    if v.is_null() {
        return;
    }
    let (raw, requirements) = (value::text(v, "rawSelector"), value::list(v, "requirements"));
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => out.push(invalid(&format!("{at}.rawSelector"), &json!(raw), "may not specified at the same time as requirements")),
        (true, true) => out.push(required(&format!("{at}.requirements"), &format!("when {at} is specified, requirements or rawSelector is required"))),
        _ => {}
    }
    for (i, r) in requirements.iter().enumerate() {
        let at = format!("{at}.requirements[{i}]");
        let values = value::list(r, "values");
        match value::text(r, "operator") {
            "In" | "NotIn" if values.is_empty() => out.push(required(&format!("{at}.values"), "must be specified when `operator` is 'In' or 'NotIn'")),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                out.push(cause(
                    "FieldValueForbidden",
                    &format!("{at}.values"),
                    "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'".into(),
                ));
            }
            _ => {}
        }
        let key = value::text(r, "key");
        if of_labels {
            let bad = skiff_meta::is_qualified_name(key).err().into_iter().flatten();
            out.extend(bad.map(|why| invalid(&format!("{at}.key"), &json!(key), &why.0)));
        } else if key.is_empty() {
            out.push(required(&format!("{at}.key"), "must be specified"));
        }
    }
}

fn cause(reason: &str, field: &str, message: String) -> Cause {
    Cause { reason: reason.into(), message, field: field.into() }
}
fn invalid(field: &str, v: &Value, why: &str) -> Cause {
    cause("FieldValueInvalid", field, format!("Invalid value: {v}: {why}"))
}
fn required(field: &str, why: &str) -> Cause {
    cause("FieldValueRequired", field, format!("Required value: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: Value, label: Value) -> (Selectors, Vec<String>) {
        let v = json!({"spec": {"user": "u", "resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": field, "labelSelector": label}}});
        match question(&v) {
            (Action::Resource { selectors, .. }, errors) => (selectors, errors),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn selectors_are_read_and_what_is_not_understood_is_left_out() {
        let (s, errors) = of(
            json!({"rawSelector": "spec.nodeName=n,a!=b"}),
            json!({"requirements": [{"key": "app", "operator": "In", "values": ["x"]}, {"key": "gone", "operator": "Later"}]}),
        );
        assert_eq!(s.fields, [("spec.nodeName".into(), "n".into(), true), ("a".into(), "b".into(), false)]);
        assert_eq!(s.labels.len(), 1);
        assert_eq!(errors, ["spec.resourceAttributes.labelSelector partially ignored due to parse error"]);
        let (s, errors) = of(json!({"requirements": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}), json!({"rawSelector": "a in x"}));
        assert!(s.is_empty());
        assert_eq!(
            errors,
            ["spec.resourceAttributes.fieldSelector ignored due to parse error", "spec.resourceAttributes.labelSelector ignored due to parse error"]
        );
    }

    #[test]
    fn bad_reviews_are_refused() {
        let told = |v: Value, own, local| wrong(&v, own, local).into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect::<Vec<_>>();
        assert_eq!(
            told(json!({"spec": {"user": "u"}}), false, None),
            ["spec: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"]
        );
        assert_eq!(
            told(json!({"spec": {"resourceAttributes": {}}}), false, None),
            ["spec.user: Invalid value: \"\": at least one of user or group must be specified"]
        );
        assert!(told(json!({"spec": {"resourceAttributes": {}}}), true, None).is_empty());
        assert_eq!(
            told(json!({"spec": {"user": "u", "resourceAttributes": {"namespace": "a"}}}), false, Some("b")),
            ["spec.resourceAttributes.namespace: Invalid value: \"a\": must match metadata.namespace"]
        );
        let both =
            json!({"spec": {"resourceAttributes": {"fieldSelector": {"rawSelector": "a=b", "requirements": [{"operator": "In"}]}, "labelSelector": {}}}});
        assert_eq!(told(both, true, None).len(), 4);
        assert_eq!(
            told(json!({"metadata": {"name": "x"}, "spec": {"nonResourceAttributes": {"path": "/"}}}), true, None),
            ["metadata: Invalid value: {\"name\":\"x\"}: must be empty"]
        );
    }
}
