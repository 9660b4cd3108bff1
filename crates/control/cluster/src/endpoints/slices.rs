//! EndpointSlices: up to a hundred endpoints each, a set a family and a set of ports.
use super::Sources;
use super::plan::{Address, Port, addresses};
use super::trigger::{Triggers, annotated};
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use skiff_client::{DeleteOptions, Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Typed, key_of, split_key};
use skiff_json::{Value, json};
use skiff_meta::{LabelSelector, Reason, Status};
use std::{collections::BTreeMap, sync::Arc};

const MAX_ENDPOINTS: usize = 100;
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

struct Slices {
    deps: Deps,
    sources: Sources,
    slices: Typed<EndpointSlice>,
    triggers: Triggers,
}

pub(crate) fn start(deps: Deps) -> Started {
    let queue = Queue::new();
    let sources = Sources::start(&deps, &queue);
    let slices = deps.informers.of::<EndpointSlice>();
    let q = queue.clone();
    slices.subscribe(move |c| {
        if c.row().label(MANAGED_BY) == Some(MANAGER)
            && let Some(service) = c.row().label(SERVICE_NAME)
        {
            q.add(key_of(c.row().namespace(), service));
        }
    });
    (queue, Arc::new(Slices { deps, sources, slices, triggers: Triggers::default() }))
}

#[async_trait]
impl Reconcile for Slices {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let selector = LabelSelector::from_map([(SERVICE_NAME, name), (MANAGED_BY, MANAGER)]);
        let mut existing = self.slices.list(namespace, &selector);
        existing.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let service = self.sources.services.get(namespace, name).filter(|s| s.metadata.deletion_timestamp.is_none());
        let Some((service, pods)) = service.and_then(|s| self.sources.selected(&s).map(|p| (s, p))) else {
            for slice in existing {
                self.delete(&slice).await.at("delete endpoint slice of", key)?;
            }
            self.triggers.forget(key);
            return Ok(Action::Done);
        };
        let trigger = self.triggers.changed(key, &service, &pods);
        let families = service.spec.as_ref().and_then(|s| s.ip_families.clone()).filter(|f| !f.is_empty()).unwrap_or_else(|| vec!["IPv4".into()]);
        for family in &families {
            let (mine, rest) = existing.into_iter().partition(|s| &s.address_type == family);
            existing = rest;
            let wanted = self.wanted(&service, addresses(&service, &pods, family));
            if let Err(e) = self.settle(&service, family, mine, wanted, trigger.as_deref()).await {
                // A lost race is no news: the next turn sees the newer slice.
                if e.is(Reason::Conflict) {
                    return Err(e).at("write endpoint slices of", key);
                }
                self.deps.recorder.warning(
                    &Regarding::of(&service),
                    "FailedToUpdateEndpointSlices",
                    format!("Error updating Endpoint Slices for Service {namespace}/{name}: {e}"),
                );
                return Err(e).at("write endpoint slices of", key);
            }
        }
        for slice in existing {
            self.delete(&slice).await.at("delete endpoint slice of", key)?;
        }
        Ok(Action::Done)
    }
}

/// Ports and endpoints of one slice, as JSON.
type Wanted = (Vec<Value>, Vec<Value>);

impl Slices {
    fn wanted(&self, service: &Service, addresses: Vec<Address>) -> Vec<Wanted> {
        let mut by_ports: BTreeMap<Vec<Port>, Vec<Value>> = BTreeMap::new();
        for a in &addresses {
            by_ports.entry(a.ports.clone()).or_default().push(self.endpoint(service, a));
        }
        if by_ports.is_empty() {
            by_ports.insert(Vec::new(), Vec::new());
        }
        let mut out = Vec::new();
        for (ports, endpoints) in by_ports {
            let ports: Vec<Value> = ports.iter().map(port).collect();
            if endpoints.is_empty() {
                out.push((ports, endpoints));
            } else {
                out.extend(endpoints.chunks(MAX_ENDPOINTS).map(|c| (ports.clone(), c.to_vec())));
            }
        }
        out
    }
    fn endpoint(&self, service: &Service, a: &Address) -> Value {
        let mut v = json!({"addresses": [a.ip], "conditions": {"ready": a.ready, "serving": a.serving, "terminating": a.terminating}});
        if let Some(h) = &a.hostname {
            v["hostname"] = h.clone().into();
        }
        let namespace = service.metadata.namespace.clone().unwrap_or_default();
        v["targetRef"] = json!({"kind": "Pod", "namespace": namespace, "name": a.pod, "uid": a.uid});
        if let Some(n) = &a.node {
            v["nodeName"] = n.clone().into();
            if let Some(zone) = self.sources.zone(n) {
                v["zone"] = zone.into();
            }
        }
        if let Some(h) = hints(service, &v, a.ready) {
            v["hints"] = h;
        }
        v
    }
    /// Keeps slices that are right, rewrites others, creates what is missing, deletes what is left over.
    async fn settle(
        &self,
        service: &Service,
        family: &str,
        mut have: Vec<EndpointSlice>,
        mut wanted: Vec<Wanted>,
        trigger: Option<&str>,
    ) -> Result<(), Status> {
        let labels = labels(service);
        let content = |s: &EndpointSlice| {
            let list = |v: Result<Value, skiff_json::Error>| v.ok().and_then(|v| v.as_array().cloned()).unwrap_or_default();
            (list(skiff_json::to_value(&s.ports)), list(skiff_json::to_value(&s.endpoints)))
        };
        have.retain(|s| {
            let (ports, endpoints) = content(s);
            let right = wanted.iter().position(|(p, e)| *p == ports && *e == endpoints && labels_of(s) == labels);
            right.is_none_or(|i| {
                wanted.remove(i);
                false
            })
        });
        let mut have = have.into_iter();
        for (ports, endpoints) in wanted {
            let mut body = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"labels": labels}, "addressType": family, "endpoints": endpoints, "ports": ports});
            let name = service.metadata.name.clone().unwrap_or_default();
            let namespace = service.metadata.namespace.clone().unwrap_or_default();
            body["metadata"]["namespace"] = namespace.clone().into();
            body["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "Service", "name": name, "uid": service.metadata.uid, "controller": true, "blockOwnerDeletion": true}]);
            let next = have.next();
            let annotations = annotated(next.as_ref().and_then(|s| s.metadata.annotations.clone()), trigger);
            if !annotations.is_empty() {
                body["metadata"]["annotations"] = json!(annotations);
            }
            match next {
                Some(old) => {
                    body["metadata"]["name"] = old.metadata.name.clone().into();
                    body["metadata"]["resourceVersion"] = old.metadata.resource_version.clone().into();
                    let target = Target::new(resource_of::<EndpointSlice>(), namespace, old.metadata.name.unwrap_or_default());
                    self.deps.client.update_bytes(target, body.to_string()).await?;
                }
                None => {
                    body["metadata"]["generateName"] = format!("{name}-").into();
                    let target = Target::new(resource_of::<EndpointSlice>(), namespace, "");
                    match self.deps.client.create_bytes(target, body.to_string()).await {
                        Err(e) if e.is(Reason::Forbidden) && e.message.contains("being terminated") => return Ok(()),
                        other => other.map(drop)?,
                    }
                }
            }
        }
        for old in have {
            self.delete(&old).await?;
        }
        Ok(())
    }
    async fn delete(&self, s: &EndpointSlice) -> Result<(), Status> {
        let m = &s.metadata;
        self.deps
            .client
            .delete::<EndpointSlice>(m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default(), &DeleteOptions::default())
            .await
    }
}

/// Who should use a ready endpoint, when the Service asks for traffic that stays near (KEP-4444, KEP-3015).
fn hints(service: &Service, endpoint: &Value, ready: bool) -> Option<Value> {
    let near = service.spec.as_ref().and_then(|s| s.traffic_distribution.as_deref())?;
    if !ready || !matches!(near, "PreferClose" | "PreferSameZone" | "PreferSameNode") {
        return None;
    }
    let named = |part: &str| endpoint.get(part).map(|name| json!([{"name": name}]));
    let mut h = skiff_json::Map::new();
    h.extend(named("zone").map(|z| ("forZones".to_owned(), z)));
    if near == "PreferSameNode" {
        h.extend(named("nodeName").map(|n| ("forNodes".to_owned(), n)));
    }
    (!h.is_empty()).then(|| h.into())
}

fn port(p: &Port) -> Value {
    let mut v = json!({"name": p.name, "port": p.port, "protocol": p.protocol});
    if let Some(a) = &p.app_protocol {
        v["appProtocol"] = a.clone().into();
    }
    v
}

/// The service's own labels with the slice's on top; a headless service marks its slices.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut out = service.metadata.labels.clone().unwrap_or_default();
    out.remove("service.kubernetes.io/headless");
    if service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None") {
        out.insert("service.kubernetes.io/headless".into(), String::new());
    }
    out.insert(SERVICE_NAME.into(), service.metadata.name.clone().unwrap_or_default());
    out.insert(MANAGED_BY.into(), MANAGER.into());
    out
}
fn labels_of(s: &EndpointSlice) -> BTreeMap<String, String> {
    s.metadata.labels.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_that_stays_near() {
        let endpoint = json!({"nodeName": "n", "zone": "z"});
        for (near, ready, want) in [
            ("PreferClose", true, Some(json!({"forZones": [{"name": "z"}]}))),
            ("PreferSameNode", true, Some(json!({"forZones": [{"name": "z"}], "forNodes": [{"name": "n"}]}))),
            ("PreferSameNode", false, None),
            ("", true, None),
        ] {
            let service: Service = skiff_json::from_value(json!({"metadata": {}, "spec": {"trafficDistribution": near}})).unwrap();
            assert_eq!(hints(&service, &endpoint, ready), want, "{near}");
        }
    }
}
