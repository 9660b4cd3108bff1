//! Policies against a fake world.
mod mutating;
mod validating;

use super::{MutatingPolicies, ValidatingPolicies};
use crate::testing::{Nobody, Request, World};
use skiff_json::{Value, json};
use std::sync::Arc;

/// A policy about all of config maps, and its binding; `spec` and `bound` add to both.
fn declared(kind: &str, pairs: &[(&str, Value, Value)]) -> World {
    let w = World::of(&[("namespaces", json!({"metadata": {"name": "ns", "labels": {"team": "a"}}}))]);
    let resource = kind.to_lowercase();
    for (name, spec, bound) in pairs {
        let mut policy = json!({
            "failurePolicy": "Fail",
            "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
                "resourceRules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "scope": "*"}]}});
        overwrite(&mut policy, spec);
        w.put(
            &format!("{}ies.admissionregistration.k8s.io", &resource[..resource.len() - 1]),
            &json!({"kind": kind, "metadata": {"name": name}, "spec": policy}),
        );
        let mut binding = json!({"policyName": name, "validationActions": ["Deny"]});
        overwrite(&mut binding, bound);
        w.put(
            &format!("{resource}bindings.admissionregistration.k8s.io"),
            &json!({"kind": format!("{kind}Binding"), "metadata": {"name": format!("{name}-b")}, "spec": binding}),
        );
    }
    w
}

fn overwrite(v: &mut Value, with: &Value) {
    for (k, x) in with.as_object().into_iter().flatten() {
        v[k] = x.clone();
    }
}

fn map(data: Value) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "m", "namespace": "ns", "labels": {"app": "x"}}, "data": data})
}
fn create() -> Request {
    Request::create("configmaps", map(json!({"k": "v"})))
}
fn params(max: &str, name: &str, namespace: &str) -> Value {
    json!({"kind": "Limit", "apiVersion": "x.io/v1", "metadata": {"name": name, "namespace": namespace, "labels": {"env": "test"}}, "max": max})
}
