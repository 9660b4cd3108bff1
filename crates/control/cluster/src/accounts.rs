//! What each namespace has from the start: the `default` service account and the root certificate. And secrets that are tokens.
mod joining;
mod legacy;
mod tokens;

pub(crate) use joining::start as start_joining;
pub(crate) use legacy::start as start_legacy;
pub use tokens::SecretTokens;
pub(crate) use tokens::start as start_tokens;

use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use skiff_client::{Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_json::json;
use skiff_meta::{Reason, Status};
use std::sync::Arc;

const ROOT_CA: &str = "kube-root-ca.crt";

/// A namespace that takes new objects.
fn active(namespaces: &Typed<Namespace>, name: &str) -> bool {
    namespaces.row("", name).is_some_and(|r| !r.deleting)
}
/// Creating what somebody else has created meanwhile, or in a namespace that ends meanwhile, is no failure.
fn tolerant(done: Result<bytes::Bytes, Status>) -> Result<(), Status> {
    match done {
        Err(e) if e.is(Reason::AlreadyExists) || e.is(Reason::NotFound) => Ok(()),
        Err(e) if e.is(Reason::Forbidden) && e.message.contains("being terminated") => Ok(()),
        other => other.map(drop),
    }
}

struct Accounts {
    deps: Deps,
    namespaces: Typed<Namespace>,
    accounts: Typed<ServiceAccount>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (namespaces, accounts) = (deps.informers.of::<Namespace>(), deps.informers.of::<ServiceAccount>());
    let queue = Queue::new();
    let q = queue.clone();
    namespaces.subscribe(move |c| q.add(c.key()));
    let q = queue.clone();
    accounts.subscribe(move |c| {
        if c.new.is_none() {
            q.add(c.row().namespace());
        }
    });
    (queue, Arc::new(Accounts { deps, namespaces, accounts }))
}

#[async_trait]
impl Reconcile for Accounts {
    async fn reconcile(&self, namespace: &str) -> Result<Action, Failed> {
        if active(&self.namespaces, namespace) && self.accounts.row(namespace, "default").is_none() {
            let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}});
            let target = Target::new(resource_of::<ServiceAccount>(), namespace, "");
            tolerant(self.deps.client.create_bytes(target, body.to_string()).await).at("create service account", format!("{namespace}/default"))?;
        }
        Ok(Action::Done)
    }
}

struct RootCa {
    deps: Deps,
    namespaces: Typed<Namespace>,
    maps: Typed<ConfigMap>,
}

pub(crate) fn start_root_ca(deps: Deps) -> Started {
    let (namespaces, maps) = (deps.informers.of::<Namespace>(), deps.informers.of::<ConfigMap>());
    let queue = Queue::new();
    let q = queue.clone();
    namespaces.subscribe(move |c| q.add(c.key()));
    let q = queue.clone();
    maps.subscribe(move |c| {
        if c.row().name() == ROOT_CA {
            q.add(c.row().namespace());
        }
    });
    (queue, Arc::new(RootCa { deps, namespaces, maps }))
}

#[async_trait]
impl Reconcile for RootCa {
    async fn reconcile(&self, namespace: &str) -> Result<Action, Failed> {
        if !active(&self.namespaces, namespace) {
            return Ok(Action::Done);
        }
        let wanted = json!({"ca.crt": self.deps.settings.root_ca});
        let note = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ROOT_CA, "namespace": namespace, "annotations": {"kubernetes.io/description": note}}, "data": wanted});
        let target = Target::new(resource_of::<ConfigMap>(), namespace, "");
        let what = || format!("{namespace}/{ROOT_CA}");
        match self.maps.get(namespace, ROOT_CA) {
            None => tolerant(self.deps.client.create_bytes(target, body.to_string()).await).at("create root certificate", what())?,
            Some(m) if json!(m.data) != wanted => {
                let target = Target::new(resource_of::<ConfigMap>(), namespace, ROOT_CA);
                tolerant(self.deps.client.update_bytes(target, body.to_string()).await).at("update root certificate", what())?;
            }
            Some(_) => {}
        }
        Ok(Action::Done)
    }
}
