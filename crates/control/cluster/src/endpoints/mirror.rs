//! EndpointSlices of Endpoints that people write for Services without a selector.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use skiff_client::{DeleteOptions, Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Typed, key_of, split_key};
use skiff_json::{Value, json};
use skiff_meta::{LabelSelector, Reason, Status};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

const MAX_ADDRESSES: usize = 1000;
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations of the Endpoints alone.
const OWN: [&str; 2] = ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];

/// What one slice holds: of a family, with the same ports.
#[derive(Debug, PartialEq)]
struct Mirror {
    family: &'static str,
    ports: Value,
    endpoints: Vec<Value>,
}

#[derive(Debug, Default, PartialEq)]
struct Plan {
    slices: Vec<Mirror>,
    invalid: usize,
    skipped: usize,
}

/// Slices in the order of families and ports; what is no address is counted, as are addresses beyond a thousand.
fn plan(endpoints: &Endpoints) -> Plan {
    let mut plan = Plan::default();
    let mut groups: BTreeMap<(&'static str, String), BTreeMap<String, Value>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = json!(subset.ports.iter().flatten().map(port).collect::<Vec<_>>()).to_string();
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let all: Vec<_> = ready.chain(subset.not_ready_addresses.iter().flatten().map(|a| (a, false))).collect();
        let mut added = 0;
        for (address, ready) in all.iter().filter(|(a, _)| a.ip.parse::<IpAddr>().is_ok()).take(MAX_ADDRESSES) {
            let Some((family, key, endpoint)) = endpoint(address, *ready) else { continue };
            groups.entry((family, ports.clone())).or_default().entry(key).or_insert(endpoint);
            added += 1;
        }
        plan.invalid += all.iter().filter(|(a, _)| a.ip.parse::<IpAddr>().is_err()).count();
        plan.skipped += all.len() - added;
    }
    let slice = |((family, ports), endpoints): ((&'static str, String), BTreeMap<String, Value>)| Mirror {
        family,
        ports: skiff_json::from_str(&ports).unwrap_or_default(),
        endpoints: endpoints.into_values().collect(),
    };
    plan.slices = groups.into_iter().map(slice).collect();
    plan
}

fn port(p: &k8s_openapi::api::core::v1::EndpointPort) -> Value {
    let mut v = json!({"name": p.name.clone().unwrap_or_default(), "port": p.port, "protocol": p.protocol.as_deref().unwrap_or("TCP")});
    if let Some(a) = &p.app_protocol {
        v["appProtocol"] = a.clone().into();
    }
    v
}

fn endpoint(a: &EndpointAddress, ready: bool) -> Option<(&'static str, String, Value)> {
    let ip: IpAddr = a.ip.parse().ok()?;
    let mut v = json!({"addresses": [ip.to_string()], "conditions": {"ready": ready}});
    if let Some(h) = a.hostname.as_ref().filter(|h| !h.is_empty()) {
        v["hostname"] = h.clone().into();
    }
    if let Some(n) = &a.node_name {
        v["nodeName"] = n.clone().into();
    }
    if let Some(t) = &a.target_ref {
        v["targetRef"] = json!(t);
    }
    let target = a.target_ref.as_ref().and_then(|t| t.uid.clone()).unwrap_or_default();
    Some((if ip.is_ipv4() { "IPv4" } else { "IPv6" }, format!("{ip} {target}"), v))
}

/// The slice as it is to be, without its name.
fn body(endpoints: &Endpoints, slice: &Mirror) -> Value {
    let m = &endpoints.metadata;
    let (name, mut labels) = (m.name.clone().unwrap_or_default(), m.labels.clone().unwrap_or_default());
    labels.insert(SERVICE_NAME.into(), name.clone());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut v = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"namespace": m.namespace, "labels": labels,
        "ownerReferences": [{"apiVersion": "v1", "kind": "Endpoints", "name": name, "uid": m.uid, "controller": true, "blockOwnerDeletion": true}]},
        "addressType": slice.family, "endpoints": slice.endpoints, "ports": slice.ports});
    let notes: BTreeMap<_, _> = m.annotations.iter().flatten().filter(|(k, _)| !OWN.contains(&k.as_str())).collect();
    if !notes.is_empty() {
        v["metadata"]["annotations"] = json!(notes);
    }
    v
}

/// Whether an existing slice says already what the body would.
fn same(have: &Value, body: &Value) -> bool {
    let of = |v: &Value, p: &str| v.pointer(p).filter(|v| !v.is_null()).cloned();
    ["/metadata/labels", "/metadata/annotations", "/metadata/ownerReferences", "/addressType", "/endpoints", "/ports"]
        .iter()
        .all(|p| of(have, p) == of(body, p))
}

struct Mirroring {
    deps: Deps,
    endpoints: Typed<Endpoints>,
    services: Typed<Service>,
    slices: Typed<EndpointSlice>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (endpoints, services, slices) = (deps.informers.of::<Endpoints>(), deps.informers.of::<Service>(), deps.informers.of::<EndpointSlice>());
    let queue = Queue::new();
    let q = queue.clone();
    endpoints.subscribe(move |c| q.add(c.key()));
    let q = queue.clone();
    services.subscribe(move |c| q.add(c.key()));
    let q = queue.clone();
    slices.subscribe(move |c| {
        if c.row().label(MANAGED_BY) == Some(MANAGER)
            && let Some(service) = c.row().label(SERVICE_NAME)
        {
            q.add(key_of(c.row().namespace(), service));
        }
    });
    (queue, Arc::new(Mirroring { deps, endpoints, services, slices }))
}

fn mirrored(e: &Endpoints) -> bool {
    let m = &e.metadata;
    let skip = m.labels.as_ref().and_then(|l| l.get(SKIP)).is_some_and(|v| v == "true");
    !skip && !m.annotations.as_ref().is_some_and(|a| a.contains_key(LEADER))
}

#[async_trait]
impl Reconcile for Mirroring {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let existing = self.slices.rows(namespace, &LabelSelector::from_map([(SERVICE_NAME, name), (MANAGED_BY, MANAGER)]));
        let selects = |s: &Service| s.spec.as_ref().and_then(|s| s.selector.as_ref()).is_some();
        let plain = self.services.get(namespace, name).is_some_and(|s| !selects(&s));
        let endpoints = self.endpoints.get(namespace, name).filter(|e| plain && mirrored(e));
        let mut left = existing.iter().filter_map(|r| skiff_json::from_slice::<Value>(&r.bytes).ok()).collect::<Vec<_>>();
        if let Some(endpoints) = endpoints {
            let plan = plan(&endpoints);
            self.tell(&endpoints, &plan);
            let bodies = plan.slices.iter().map(|s| body(&endpoints, s)).collect();
            self.settle(&endpoints, bodies, &mut left).await.at("mirror endpoints", key)?;
        }
        for slice in left {
            let name = slice["metadata"]["name"].as_str().unwrap_or_default();
            self.deps.client.delete::<EndpointSlice>(namespace, name, &DeleteOptions::default()).await.at("delete mirrored endpoint slice of", key)?;
        }
        Ok(Action::Done)
    }
}

impl Mirroring {
    fn tell(&self, endpoints: &Endpoints, plan: &Plan) {
        let about = Regarding::of(endpoints);
        if plan.invalid > 0 {
            self.deps.recorder.warning(&about, "InvalidIPAddress", format!("Skipped {} invalid IP addresses when mirroring to EndpointSlices", plan.invalid));
        }
        if plan.skipped > plan.invalid {
            let message =
                format!("A max of {MAX_ADDRESSES} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped", plan.skipped);
            self.deps.recorder.warning(&about, "TooManyAddressesToMirror", message);
        }
    }
    /// Keeps what is right, rewrites others of the family, creates the rest; what nobody needs stays in `left`.
    async fn settle(&self, endpoints: &Endpoints, mut bodies: Vec<Value>, left: &mut Vec<Value>) -> Result<(), Status> {
        bodies.retain(|body| match left.iter().position(|have| same(have, body)) {
            Some(i) => {
                left.remove(i);
                false
            }
            None => true,
        });
        let (namespace, name) = (endpoints.metadata.namespace.as_deref().unwrap_or_default(), endpoints.metadata.name.as_deref().unwrap_or_default());
        for mut body in bodies {
            // The same ports first: such a slice is changed, not swapped.
            let fits = |ports: bool| left.iter().position(|h| h["addressType"] == body["addressType"] && (!ports || h["ports"] == body["ports"]));
            if let Some(i) = fits(true).or_else(|| fits(false)) {
                let old = left.remove(i);
                for field in ["name", "resourceVersion"] {
                    body["metadata"][field] = old["metadata"][field].clone();
                }
                let target = Target::new(resource_of::<EndpointSlice>(), namespace, old["metadata"]["name"].as_str().unwrap_or_default());
                self.deps.client.update_bytes(target, body.to_string()).await?;
            } else if endpoints.metadata.deletion_timestamp.is_none() {
                body["metadata"]["generateName"] = format!("{name}-").into();
                match self.deps.client.create_bytes(Target::new(resource_of::<EndpointSlice>(), namespace, ""), body.to_string()).await {
                    Err(e) if e.is(Reason::Forbidden) && e.message.contains("being terminated") => return Ok(()),
                    other => other.map(drop)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_slice_for_each_family_and_set_of_ports() {
        let e: Endpoints = skiff_json::from_value(json!({"metadata": {"name": "s", "namespace": "n", "uid": "u", "labels": {"a": "b"}, "annotations": {"x": "y", OWN[1]: "z"}},
            "subsets": [{"addresses": [{"ip": "10.1.2.3"}, {"ip": "fd00::1"}, {"ip": "bad"}], "notReadyAddresses": [{"ip": "10.1.2.4", "nodeName": "k"}], "ports": [{"name": "http", "port": 80}]},
                {"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 81, "protocol": "UDP"}]}]}))
        .unwrap();
        let p = plan(&e);
        assert_eq!((p.invalid, p.skipped), (1, 1));
        let shape: Vec<_> = p.slices.iter().map(|s| (s.family, s.ports[0]["port"].as_i64(), s.endpoints.len())).collect();
        assert_eq!(shape, [("IPv4", Some(81), 1), ("IPv4", Some(80), 2), ("IPv6", Some(80), 1)]);
        assert_eq!(p.slices[1].endpoints[1], json!({"addresses": ["10.1.2.4"], "conditions": {"ready": false}, "nodeName": "k"}));
        let body = body(&e, &p.slices[0]);
        assert_eq!(body["metadata"]["annotations"], json!({"x": "y"}));
        assert_eq!(body["metadata"]["labels"], json!({"a": "b", SERVICE_NAME: "s", MANAGED_BY: MANAGER}));
        assert!(same(&body, &body) && !same(&body, &super::body(&e, &p.slices[1])));
    }
}
