//! Which causes are told, and in which order: a row is an object, what it was before, and the fields of its causes with how
//! their messages begin.
use skiff_json::{Value, json};
use skiff_validation::{validate_create, validate_status_update, validate_update};

fn told(causes: Vec<skiff_meta::Cause>) -> Vec<String> {
    causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
}

fn check(what: &str, told: &[String], want: &[&str]) {
    assert!(told.len() == want.len() && told.iter().zip(want).all(|(t, w)| t.starts_with(w)), "{what}: {told:#?}");
}

const ADMISSION: &str = "admissionregistration.k8s.io";

fn policy(change: impl FnOnce(&mut Value)) -> Value {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"], "scope": "*"});
    let constraints = json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": [rule]});
    let mut v = json!({"metadata": {"name": "p"}, "spec": {"failurePolicy": "Fail", "reinvocationPolicy": "Never", "matchConstraints": constraints, "variables": [{"name": "r", "expression": "1"}],
        "matchConditions": [{"name": "c", "expression": "true"}],
        "validations": [{"expression": "variables.r < 5"}], "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]}});
    change(&mut v);
    v
}

#[test]
fn policies_change_whatever_has_an_object() {
    let with = |operations: Value| policy(|v| v["spec"]["matchConstraints"]["resourceRules"][0]["operations"] = operations);
    for ok in [json!(["CREATE", "UPDATE", "CONNECT"]), json!(["*"])] {
        assert_eq!(told(validate_create(ADMISSION, "MutatingAdmissionPolicy", &with(ok))), Vec::<String>::new());
    }
    let mut wrong = with(json!(["DELETE"]));
    wrong["spec"]["matchConditions"][0]["expression"] = "nobody".into();
    let at = "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"";
    check(
        "deletions",
        &told(validate_create(ADMISSION, "MutatingAdmissionPolicy", &wrong)),
        &[at, "spec.matchConditions[0].expression: Invalid value: \"nobody\": compilation failed"],
    );
}

#[test]
fn a_variable_that_does_not_compile_is_declared_all_the_same() {
    let wrong = policy(|v| v["spec"]["variables"][0]["expression"] = "nobody".into());
    check("compiles", &told(validate_create(ADMISSION, "ValidatingAdmissionPolicy", &wrong)), &["spec.variables[0].expression: Invalid value: \"nobody\""]);
    let none = policy(|v| v["spec"]["variables"][0]["expression"] = "".into());
    check(
        "empty",
        &told(validate_create(ADMISSION, "ValidatingAdmissionPolicy", &none)),
        &["spec.variables[0].expression: Required value", "spec.validations[0].expression: Invalid value"],
    );
}

#[test]
fn new_objects() {
    let required = "Required value";
    for (group, kind, v, want) in [
        (
            ADMISSION,
            "ValidatingWebhookConfiguration",
            json!({"webhooks": [{"name": "a.b.c", "clientConfig": {"service": {"port": 443}}, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "matchPolicy": "Exact", "timeoutSeconds": 1}]}),
            vec![format!("webhooks[0].clientConfig.service.name: {required}"), format!("webhooks[0].clientConfig.service.namespace: {required}")],
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "PriorityLevelConfiguration",
            json!({"metadata": {"name": "p"}, "spec": {"limited": {"limitResponse": {"type": "Reject"}}}}),
            vec!["spec.limited: Forbidden".into(), format!("spec.type: {required}")],
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "PriorityLevelConfiguration",
            json!({"metadata": {"name": "p"}, "spec": {"type": "Limited", "limited": {"lendablePercent": 0, "limitResponse": {"queuing": {"queues": 1}}}}}),
            vec!["spec.limited.limitResponse.queuing: Forbidden".into(), format!("spec.limited.limitResponse.type: {required}")],
        ),
        (
            "node.k8s.io",
            "RuntimeClass",
            json!({"handler": "H", "scheduling": {"nodeSelector": {"a b": ""}}}),
            vec!["scheduling.nodeSelector: Invalid value".into(), "handler: Invalid value: \"H\"".into()],
        ),
        (
            "storage.k8s.io",
            "VolumeAttachment",
            json!({"spec": {"source": {}, "nodeName": "n"}}),
            vec![format!("spec.source: {required}"), format!("spec.attacher: {required}")],
        ),
        (
            "certificates.k8s.io",
            "ClusterTrustBundle",
            json!({"metadata": {"generateName": "b-", "name": "b-x"}, "spec": {"signerName": "e.com/x", "trustBundle": "x"}}),
            vec!["metadata.generateName: Invalid value: \"b-\"".into(), "metadata.name: Invalid value: \"b-x\"".into(), "spec.trustBundle".into()],
        ),
        (
            "apiregistration.k8s.io",
            "APIService",
            json!({"metadata": {"generateName": "b-", "name": "b-x"}, "spec": {"group": "g", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}}),
            vec!["metadata.generateName: Invalid value: \"b-\"".into(), "metadata.name: Invalid value: \"b-x\"".into()],
        ),
    ] {
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check(kind, &told(validate_create(group, kind, &v)), &want);
    }
}

#[test]
fn changes() {
    for (group, kind, old, new, want) in [
        (
            "networking.k8s.io",
            "IPAddress",
            json!({"spec": {"parentRef": {"resource": "a", "name": "b"}}}),
            json!({"spec": {"parentRef": {"resource": "a"}}}),
            ["spec.parentRef.name: Required value", "spec.parentRef: Invalid value: null"].as_slice(),
        ),
        ("node.k8s.io", "RuntimeClass", json!({"handler": "h"}), json!({}), &["handler: Invalid value: null: field is immutable", "handler: Required value"]),
        (
            "storage.k8s.io",
            "CSIStorageCapacity",
            json!({"storageClassName": "s", "nodeTopology": {"matchLabels": {"a": "b"}}}),
            json!({"storageClassName": "s", "nodeTopology": {"matchLabels": {}}}),
            &["nodeTopology: Invalid value: {}: field is immutable"],
        ),
        (
            "storage.k8s.io",
            "CSIStorageCapacity",
            json!({"storageClassName": "s", "nodeTopology": {"matchLabels": {"a": "b"}}}),
            json!({"storageClassName": "s"}),
            &["nodeTopology: Invalid value: null: field is immutable"],
        ),
        (
            "storage.k8s.io",
            "VolumeAttachment",
            json!({"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "p"}}}),
            json!({"spec": {"nodeName": "n", "source": {}}}),
            &["spec.attacher: Required value", "spec.source: Required value", "spec: Invalid value"],
        ),
        (
            "storage.k8s.io",
            "CSIStorageCapacity",
            json!({"storageClassName": "s"}),
            json!({"storageClassName": ""}),
            &["storageClassName: Invalid value: \"\": a lowercase RFC 1123 subdomain", "storageClassName: Invalid value: \"\": field is immutable"],
        ),
        (
            "certificates.k8s.io",
            "ClusterTrustBundle",
            json!({"metadata": {"name": "b"}, "spec": {"signerName": "a.b/c"}}),
            json!({"metadata": {"name": "b"}, "spec": {}}),
            &["spec.signerName: Invalid value: \"\": field is immutable"],
        ),
    ] {
        check(kind, &told(validate_update(group, kind, &new, &old)), want);
    }
}

#[test]
fn statuses() {
    let conditions = |all: Value| json!({"status": {"conditions": all}});
    for (group, kind, new, want) in [
        (
            ADMISSION,
            "ValidatingAdmissionPolicy",
            conditions(json!([{}])),
            ["type", "status", "lastTransitionTime", "reason"].map(|p| format!("status.conditions[0].{p}: Required value")).to_vec(),
        ),
        (
            ADMISSION,
            "ValidatingAdmissionPolicy",
            json!({"status": {"typeChecking": {"expressionWarnings": [{}]}}}),
            ["warning", "fieldRef"].map(|p| format!("status.typeChecking.expressionWarnings[0].{p}: Required value")).to_vec(),
        ),
        (
            "certificates.k8s.io",
            "PodCertificateRequest",
            conditions(json!([{"type": "Odd", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"}])),
            vec!["status.conditions.[0].type: Unsupported value: \"Odd\": supported values: \"Issued\", \"Denied\", \"Failed\"".into()],
        ),
    ] {
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check(kind, &told(validate_status_update(group, kind, &new, &json!({}))), &want);
    }
}
