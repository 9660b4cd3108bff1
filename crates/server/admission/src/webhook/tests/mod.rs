//! Webhooks against a fake on loopback: who is asked what, and what becomes of each answer.
mod answers;
mod asking;
mod server;

use super::{MutatingWebhooks, ValidatingWebhooks};
use crate::testing::{Request, World};
use async_trait::async_trait;
use server::Fake;
use skiff_json::{Value, json};
use skiff_policy::{Action, Authorizer, Decision};
use skiff_request::User;
use skiff_webhook::Client;
use std::sync::Arc;

/// Lets `reader` read, nobody else do anything.
struct Readers;

#[async_trait]
impl Authorizer for Readers {
    async fn authorize(&self, user: &User, action: &Action) -> Decision {
        match action {
            Action::Resource { verb, .. } if verb == "get" && user.name == "reader" => Decision::Allow,
            _ => Decision::NoOpinion("no rule".into()),
        }
    }
    async fn rules(&self, _: &User, _: &str) -> (Vec<Value>, Vec<Value>) {
        (Vec::new(), Vec::new())
    }
}

/// A webhook for config maps; `more` overrides.
fn hook(name: &str, client: Value, more: Value) -> Value {
    let mut v = json!({
        "name": name, "clientConfig": client, "admissionReviewVersions": ["v1", "v1beta1"], "sideEffects": "None", "failurePolicy": "Fail",
        "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "timeoutSeconds": 1,
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "scope": "*"}]});
    for (k, x) in more.as_object().into_iter().flatten() {
        v[k] = x.clone();
    }
    v
}

fn declared(kind: &str, configurations: &[(&str, Vec<Value>)]) -> World {
    let w = World::of(&[("namespaces", json!({"metadata": {"name": "ns", "labels": {"team": "a"}}}))]);
    for (name, hooks) in configurations {
        w.put(&format!("{kind}webhookconfigurations.admissionregistration.k8s.io"), &json!({"metadata": {"name": name}, "webhooks": hooks}));
    }
    w
}

/// A world with one mutating webhook.
fn one(fake: &Fake, more: Value) -> World {
    declared("mutating", &[("c", vec![hook("h.example.com", fake.client("/path"), more)])])
}

fn mutating(fake: Fake) -> (Arc<Fake>, MutatingWebhooks) {
    let fake = Arc::new(fake);
    (fake.clone(), MutatingWebhooks::new(Arc::new(Client::new(fake)), Arc::new(Readers)))
}
fn validating(fake: Fake) -> (Arc<Fake>, ValidatingWebhooks) {
    let fake = Arc::new(fake);
    (fake.clone(), ValidatingWebhooks::new(Arc::new(Client::new(fake)), Arc::new(Readers)))
}

fn map(data: Value) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "m", "namespace": "ns", "labels": {"app": "x"}}, "data": data})
}
fn create() -> Request {
    Request::create("configmaps", map(json!({"k": "v"})))
}
