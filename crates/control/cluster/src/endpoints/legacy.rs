//! Endpoints: the older form, one object a service, at most a thousand addresses.
use super::Sources;
use super::plan::{Address, Port, addresses};
use super::trigger::{Triggers, annotated};
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Endpoints, Service};
use skiff_client::{DeleteOptions, Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Typed, split_key};
use skiff_json::{Value, json};
use skiff_meta::{Reason, Status};
use std::{collections::BTreeMap, sync::Arc};

const MAX_ADDRESSES: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

struct Legacy {
    deps: Deps,
    sources: Sources,
    endpoints: Typed<Endpoints>,
    triggers: Triggers,
}

pub(crate) fn start(deps: Deps) -> Started {
    let queue = Queue::new();
    let sources = Sources::start(&deps, &queue);
    let endpoints = deps.informers.of::<Endpoints>();
    let q = queue.clone();
    endpoints.subscribe(move |c| q.add(c.key()));
    (queue, Arc::new(Legacy { deps, sources, endpoints, triggers: Triggers::default() }))
}

#[async_trait]
impl Reconcile for Legacy {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let existing = self.endpoints.get(namespace, name);
        let Some(service) = self.sources.services.get(namespace, name) else {
            self.triggers.forget(key);
            // Endpoints of a leader election of old carry an annotation and no service.
            let ours = existing.is_some_and(|e| e.metadata.labels.as_ref().is_some_and(|l| l.contains_key(MANAGED_BY)));
            if ours {
                self.deps.client.delete::<Endpoints>(namespace, name, &DeleteOptions::default()).await.at("delete endpoints", key)?;
            }
            return Ok(Action::Done);
        };
        let Some(pods) = self.sources.selected(&service) else { return Ok(Action::Done) };
        let family = service.spec.as_ref().and_then(|s| s.ip_families.as_ref()).and_then(|f| f.first().cloned()).unwrap_or_else(|| "IPv4".into());
        let trigger = self.triggers.changed(key, &service, &pods);
        let (subsets, truncated) = subsets(&addresses(&service, &pods, &family), namespace);
        self.settle(&service, existing, subsets, truncated, trigger.as_deref()).await.at("write endpoints", key)?;
        Ok(Action::Done)
    }
}

impl Legacy {
    async fn settle(&self, service: &Service, existing: Option<Endpoints>, subsets: Vec<Value>, truncated: bool, trigger: Option<&str>) -> Result<(), Status> {
        let (name, namespace) = (service.metadata.name.clone().unwrap_or_default(), service.metadata.namespace.clone().unwrap_or_default());
        let mut labels = service.metadata.labels.clone().unwrap_or_default();
        labels.insert(MANAGED_BY.into(), "endpoint-controller".into());
        if service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None") {
            labels.insert("service.kubernetes.io/headless".into(), String::new());
        }
        let mut body = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name, "namespace": namespace, "labels": labels}});
        if !subsets.is_empty() {
            body["subsets"] = subsets.clone().into();
        }
        let mut annotations = annotated(existing.as_ref().and_then(|e| e.metadata.annotations.clone()), trigger);
        annotations.remove(OVER_CAPACITY);
        if truncated {
            annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
        }
        if !annotations.is_empty() {
            body["metadata"]["annotations"] = json!(annotations);
        }
        let target = Target::new(resource_of::<Endpoints>(), &*namespace, "");
        match existing {
            None => match self.deps.client.create_bytes(target, body.to_string()).await {
                Err(e) if e.is(Reason::Forbidden) && e.message.contains("being terminated") => Ok(()),
                other => other.map(drop),
            },
            Some(e) => {
                let have = skiff_json::to_value(&e.subsets).ok().and_then(|v| v.as_array().cloned()).unwrap_or_default();
                if have == subsets && e.metadata.labels.as_ref() == Some(&labels) {
                    return Ok(());
                }
                body["metadata"]["resourceVersion"] = e.metadata.resource_version.into();
                self.deps.client.update_bytes(Target { name, ..target }, body.to_string()).await.map(drop)
            }
        }
    }
}

/// Addresses grouped by their ports, ready and not ready apart; whether some had to be left out.
fn subsets(addresses: &[Address], namespace: &str) -> (Vec<Value>, bool) {
    let kept = &addresses[..addresses.len().min(MAX_ADDRESSES)];
    let mut groups: BTreeMap<&[Port], (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for a in kept.iter().filter(|a| a.ready || !a.terminating) {
        let mut v = json!({"ip": a.ip});
        if let Some(h) = &a.hostname {
            v["hostname"] = h.clone().into();
        }
        if let Some(n) = &a.node {
            v["nodeName"] = n.clone().into();
        }
        v["targetRef"] = json!({"kind": "Pod", "name": a.pod, "namespace": namespace, "uid": a.uid});
        let (ready, not_ready) = groups.entry(&a.ports).or_default();
        if a.ready { ready.push(v) } else { not_ready.push(v) }
    }
    let subset = |(ports, (ready, not_ready)): (&[Port], (Vec<Value>, Vec<Value>))| {
        let mut v = json!({});
        if !ready.is_empty() {
            v["addresses"] = ready.into();
        }
        if !not_ready.is_empty() {
            v["notReadyAddresses"] = not_ready.into();
        }
        let port = |p: &Port| {
            let mut v = json!({"port": p.port, "protocol": p.protocol});
            if !p.name.is_empty() {
                v["name"] = p.name.clone().into();
            }
            if let Some(a) = &p.app_protocol {
                v["appProtocol"] = a.clone().into();
            }
            v
        };
        if !ports.is_empty() {
            v["ports"] = ports.iter().map(port).collect();
        }
        v
    };
    (groups.into_iter().map(subset).collect(), addresses.len() > MAX_ADDRESSES)
}
