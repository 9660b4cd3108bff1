//! What validating policies refuse, warn of and record.
use super::*;
use crate::testing::text;

async fn ask(w: &World, r: Request) -> String {
    text(r.admit(&ValidatingPolicies::new(Arc::new(Nobody)), w).await)
}
/// One policy with these validations.
fn one(validations: Value, more: Value) -> World {
    let mut spec = json!({"validations": validations});
    overwrite(&mut spec, &more);
    declared("ValidatingAdmissionPolicy", &[("p", spec, json!({}))])
}
const DENIED: &str = "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: ";

#[tokio::test]
async fn expressions_decide() {
    let cases = [
        (json!([{"expression": "object.data.k == 'v'"}]), "ok".to_owned()),
        (json!([{"expression": " object.data.k == 'w' "}]), format!("{DENIED}failed expression: object.data.k == 'w'")),
        (json!([{"expression": "false", "message": " no "}]), format!("{DENIED}no")),
        (json!([{"expression": "false", "message": "no", "messageExpression": "'no ' + object.data.k"}]), format!("{DENIED}no v")),
        (json!([{"expression": "false", "message": "no", "messageExpression": "object.nothing"}]), format!("{DENIED}no")),
        (json!([{"expression": "false", "message": "no", "messageExpression": "'a\\nb'"}]), format!("{DENIED}no")),
        (json!([{"expression": "object.nothing == 1"}]), format!("{DENIED}expression 'object.nothing == 1' resulted in error: no such key: nothing")),
        (json!([{"expression": "true"}, {"expression": "1 > 2"}]), format!("{DENIED}failed expression: 1 > 2")),
        (
            json!([{"expression": "nobody.knows"}]),
            format!(
                "{DENIED}compilation error: compilation failed: ERROR: <input>:1:1: undeclared reference to 'nobody' (in container '')\n | nobody.knows\n | ^"
            ),
        ),
        (json!([{"expression": "namespaceObject.metadata.labels.team == 'a' && oldObject == null"}]), "ok".into()),
        (json!([{"expression": "request.operation == 'CREATE' && request.namespace == 'ns' && request.resource.resource == 'configmaps'"}]), "ok".into()),
        (
            json!([{"expression": "authorizer.group('').resource('pods').check('get').allowed()"}]),
            format!("{DENIED}failed expression: authorizer.group('').resource('pods').check('get').allowed()"),
        ),
    ];
    for (validations, want) in cases {
        assert_eq!(ask(&one(validations.clone(), json!({})), create()).await, want, "{validations}");
    }
}

#[tokio::test]
async fn a_refusal_has_the_policys_reason() {
    for (reason, code) in [("Invalid", 422), ("Forbidden", 403), ("RequestEntityTooLarge", 413), ("Unauthorized", 401)] {
        let w = one(json!([{"expression": "false", "message": "no", "reason": reason}]), json!({}));
        let s = create().admit(&ValidatingPolicies::new(Arc::new(Nobody)), &w).await.unwrap_err();
        assert_eq!((s.code, s.details.unwrap().causes[0].message.as_str()), (code, "ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: no"));
    }
}

#[tokio::test]
async fn failures_can_be_ignored() {
    let w = one(json!([{"expression": "object.nothing == 1"}, {"expression": "object.data.k == 'v'"}]), json!({"failurePolicy": "Ignore"}));
    assert_eq!(ask(&w, create()).await, "ok");
    // But not what is plainly false.
    let w = one(json!([{"expression": "object.nothing == 1"}, {"expression": "false"}]), json!({"failurePolicy": "Ignore"}));
    assert_eq!(ask(&w, create()).await, format!("{DENIED}failed expression: false"));
}

#[tokio::test]
async fn variables_are_made_when_they_are_asked_for() {
    let more = json!({"variables": [
        {"name": "data", "expression": "object.data"}, {"name": "k", "expression": "variables.data.k"}, {"name": "broken", "expression": "object.nothing"}]});
    assert_eq!(ask(&one(json!([{"expression": "variables.k == 'v'"}]), more.clone()), create()).await, "ok");
    let got = ask(&one(json!([{"expression": "variables.broken == 1"}]), more), create()).await;
    assert_eq!(
        got,
        format!("{DENIED}expression 'variables.broken == 1' resulted in error: composited variable \"broken\" fails to evaluate: no such key: nothing")
    );
}

#[tokio::test]
async fn conditions_choose_requests() {
    let w =
        |e: &str, policy: &str| one(json!([{"expression": "false"}]), json!({"failurePolicy": policy, "matchConditions": [{"name": "c", "expression": e}]}));
    assert_eq!(ask(&w("object.data.k == 'w'", "Fail"), create()).await, "ok");
    assert_eq!(ask(&w("namespaceObject == null", "Fail"), create()).await, format!("{DENIED}failed expression: false"));
    assert_eq!(ask(&w("object.nothing", "Fail"), create()).await, format!("{DENIED}expression 'object.nothing' resulted in error: no such key: nothing"));
    assert_eq!(ask(&w("object.nothing", "Ignore"), create()).await, "ok");
}

#[tokio::test]
async fn constraints_choose_requests() {
    let rule = |resource: &str| json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource], "scope": "*"}]);
    let with = |k: &str, x: Value| {
        let mut m = json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": rule("configmaps")});
        m[k] = x;
        m
    };
    let mut named = rule("configmaps");
    named[0]["resourceNames"] = json!(["other"]);
    let cases = [
        (with("resourceRules", rule("pods")), true),
        (with("resourceRules", named), true),
        (with("excludeResourceRules", rule("configmaps")), true),
        (with("excludeResourceRules", rule("pods")), false),
        (with("namespaceSelector", json!({"matchLabels": {"team": "b"}})), true),
        (with("objectSelector", json!({"matchLabels": {"app": "x"}})), false),
    ];
    for (constraints, passes) in cases {
        let of_policy = one(json!([{"expression": "false"}]), json!({"matchConstraints": constraints}));
        assert_eq!(ask(&of_policy, create()).await == "ok", passes, "{constraints}");
        let of_binding =
            declared("ValidatingAdmissionPolicy", &[("p", json!({"validations": [{"expression": "false"}]}), json!({"matchResources": constraints}))]);
        assert_eq!(ask(&of_binding, create()).await == "ok", passes, "{constraints}");
    }
    // A binding without rules matches what its policy matches.
    let of_binding = declared(
        "ValidatingAdmissionPolicy",
        &[("p", json!({"validations": [{"expression": "false"}]}), json!({"matchResources": {"namespaceSelector": {}, "objectSelector": {}}}))],
    );
    assert_ne!(ask(&of_binding, create()).await, "ok");
}

#[tokio::test]
async fn parameters_come_from_the_binding() {
    let spec =
        json!({"paramKind": {"apiVersion": "x.io/v1", "kind": "Limit"}, "validations": [{"expression": "params == null || object.data.k < params.max"}]});
    let world = |reference: Value| {
        let bound = if reference.is_null() { json!({}) } else { json!({"paramRef": reference}) };
        let w = declared("ValidatingAdmissionPolicy", &[("p", spec.clone(), bound)]);
        for p in [params("z", "high", "ns"), params("a", "low", "ns"), params("a", "there", "other")] {
            w.put("limits.x.io", &p);
        }
        w
    };
    let failed = format!("{DENIED}failed expression: params == null || object.data.k < params.max");
    let cases = [
        (Value::Null, "ok".to_owned()),
        (json!({"name": "high", "parameterNotFoundAction": "Deny"}), "ok".to_owned()),
        (json!({"name": "low", "parameterNotFoundAction": "Deny"}), failed.clone()),
        (json!({"name": "there", "namespace": "other", "parameterNotFoundAction": "Deny"}), failed.clone()),
        (json!({"selector": {"matchLabels": {"env": "test"}}, "parameterNotFoundAction": "Deny"}), failed.clone()),
        (json!({"selector": {"matchLabels": {"env": "none"}}, "parameterNotFoundAction": "Allow"}), "ok".into()),
        (json!({"name": "absent", "parameterNotFoundAction": "Allow"}), "ok".into()),
        (
            json!({"name": "absent", "parameterNotFoundAction": "Deny"}),
            format!("{DENIED}failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"),
        ),
    ];
    for (reference, want) in cases {
        assert_eq!(ask(&world(reference.clone()), create()).await, want, "{reference}");
    }
    let unknown = json!({"paramKind": {"apiVersion": "x.io/v1", "kind": "Unknown"}, "validations": [{"expression": "true"}]});
    let w = declared("ValidatingAdmissionPolicy", &[("p", unknown, json!({"paramRef": {"name": "x"}}))]);
    assert_eq!(
        ask(&w, create()).await,
        "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'x.io/v1, Kind=Unknown'"
    );
}

#[tokio::test]
async fn actions_and_annotations() {
    let spec = json!({"validations": [{"expression": "true"}, {"expression": "false", "message": "no"}],
        "auditAnnotations": [{"key": "seen", "valueExpression": "'k is ' + object.data.k"}, {"key": "not", "valueExpression": "null"}]});
    let w = declared("ValidatingAdmissionPolicy", &[("p", spec, json!({"validationActions": ["Warn", "Audit"]}))]);
    let seen = create().admitted(&ValidatingPolicies::new(Arc::new(Nobody)), &w).await.unwrap();
    assert_eq!(seen.warnings, ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-b': no"]);
    let failure = json!([{"message": "no", "policy": "p", "binding": "p-b", "expressionIndex": 1, "validationActions": ["Warn", "Audit"]}]);
    assert_eq!(
        seen.audit,
        [("p/seen".to_owned(), "k is v".to_owned()), ("validation.policy.admission.k8s.io/validation_failure".to_owned(), failure.to_string())].into()
    );
}

#[tokio::test]
async fn costs_are_limited() {
    let huge = "[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, a >= 0))))))";
    assert_eq!(
        ask(&one(json!([{"expression": huge}]), json!({})), create()).await,
        format!("{DENIED}validation failed due to running out of cost budget, no further validation rules will be run")
    );
}

#[tokio::test]
async fn a_policy_without_a_binding_does_nothing_and_none_is_about_policies() {
    let w = one(json!([{"expression": "false"}]), json!({}));
    w.0.lock().retain(|k, _| !k.contains("bindings"));
    assert_eq!(ask(&w, create()).await, "ok");
    let all = json!({"matchConstraints": {"namespaceSelector": {}, "objectSelector": {}, "resourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]}});
    let w = one(json!([{"expression": "false", "message": "no"}]), all);
    let of = |resource: &str| Request::create(resource, json!({"kind": "X", "metadata": {"name": "x"}}));
    assert_eq!(ask(&w, of("validatingadmissionpolicybindings.admissionregistration.k8s.io")).await, "ok");
    assert_eq!(ask(&w, of("subjectaccessreviews.authorization.k8s.io")).await, "ok");
    assert_ne!(ask(&w, of("mutatingwebhookconfigurations.admissionregistration.k8s.io")).await, "ok");
}
