//! The aggregation layer: group versions that other API servers serve, named by APIService objects.
//!
//! A request for such a group version is authenticated and authorised here, then goes on to an endpoint of the
//! APIService's Service with the user in `X-Remote-*` headers, over TLS with this server's proxy certificate. A loop keeps
//! the routes, looks whether each remote answers, and writes the `Available` condition.
//! <https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/>

mod available;
mod documents;
mod remote;
mod watch;

pub use remote::ProxyIdentity;

use crate::{
    answer::Reply,
    connect::{Backend, forward},
};
use arc_swap::ArcSwap;
use documents::Known;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use parking_lot::Mutex;
use remote::{Place, Remote};
use rustls::ClientConfig;
use skiff_json::Value;
use skiff_meta::{Reason, Status};
use skiff_policy::Lookup;
use skiff_registry::Registry;
use skiff_request::User;
use skiff_telemetry::metrics::Exposition;
use std::{collections::BTreeMap, sync::Arc};

/// A remote with what is needed to reach it.
struct Route {
    remote: Remote,
    /// Err: why no connection can be made.
    tls: Result<Arc<ClientConfig>, String>,
}

pub(crate) struct Aggregation {
    registry: Arc<Registry>,
    identity: ProxyIdentity,
    routes: ArcSwap<BTreeMap<Place, Arc<Route>>>,
    /// Of those remotes that answered when they were last asked.
    known: Mutex<BTreeMap<Place, Arc<Known>>>,
}

impl Aggregation {
    pub fn new(registry: Arc<Registry>, identity: ProxyIdentity) -> Arc<Self> {
        Arc::new(Self { registry, identity, routes: ArcSwap::default(), known: Mutex::default() })
    }

    /// Whether another server serves this group version.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        let routes = self.routes.load();
        // Nearly always there is none: no strings are made for it.
        !routes.is_empty() && routes.contains_key(&(group.to_owned(), version.to_owned()))
    }

    /// Sends the request on. The caller has authorised it.
    pub async fn forward(&self, place: Place, parts: &Parts, user: &User, body: Incoming, upgrade: Option<OnUpgrade>) -> Result<Response<Reply>, Status> {
        let unavailable = |why: &str| Status::new(Reason::ServiceUnavailable, why);
        let route = self.routes.load().get(&place).cloned().ok_or_else(|| unavailable("service unavailable"))?;
        if !self.known.lock().contains_key(&place) {
            return Err(unavailable("service unavailable"));
        }
        let backend = self.backend(&route).map_err(|f| unavailable(&f.message))?;
        let path = parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
        forward(parts, &remote_user(user), &backend, &path, body, upgrade).await
    }

    fn backend(&self, route: &Route) -> Result<Backend, available::Finding> {
        let r = &route.remote;
        let tls = route.tls.as_ref().map_err(|why| available::Finding::undiscovered(&format!("https://{}{}", r.host(), r.root()), why))?;
        let parse = |b: bytes::Bytes| skiff_json::from_slice::<Value>(&b).ok();
        let service = Lookup::get(&*self.registry, "services", &r.namespace, &r.service).and_then(parse);
        let slices: Vec<Value> = Lookup::list(&*self.registry, "endpointslices.discovery.k8s.io", &r.namespace)
            .into_iter()
            .filter_map(parse)
            .filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == r.service.as_str())
            .collect();
        let (host, port) = available::endpoint(r, service.as_ref(), &slices, self.registry.random())?;
        Ok(Backend { host, port, tls: Some(tls.clone()), name: r.host() })
    }

    pub fn metrics(&self, out: &mut Exposition) {
        let name = "aggregator_unavailable_apiservice";
        out.family(name, "gauge", "APIServices that cannot be reached");
        let objects = Lookup::list(&*self.registry, "apiservices.apiregistration.k8s.io", "");
        for v in objects.iter().filter_map(|b| skiff_json::from_slice::<Value>(b).ok()) {
            let available = v["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|c| c["type"] == "Available" && c["status"] == "True"));
            out.sample(name, &[("name", v["metadata"]["name"].as_str().unwrap_or_default())], u8::from(!available));
        }
    }

    fn snapshot(&self) -> Vec<(Place, Arc<Known>)> {
        self.known.lock().iter().map(|(p, k)| (p.clone(), k.clone())).collect()
    }

    /// Remote groups into a document of aggregated discovery.
    pub fn join_discovery(&self, ours: &mut Value) {
        let remotes: Vec<(Place, Value)> = self.snapshot().into_iter().map(|(p, k)| (p, k.version.clone())).collect();
        documents::join_discovery(ours, &remotes);
    }

    /// Remote groups into an `APIGroupList`.
    pub fn join_groups(&self, ours: &mut Value) {
        let places: Vec<Place> = self.snapshot().into_iter().map(|(p, _)| p).collect();
        if let Some(groups) = ours["groups"].as_array_mut() {
            documents::join_groups(groups, &places);
        }
    }

    /// The `APIGroup` of a group with remote versions beside `ours`; None when nobody serves it.
    pub fn join_group(&self, group: &str, ours: Option<Value>) -> Option<Value> {
        let places: Vec<Place> = self.snapshot().into_iter().map(|(p, _)| p).filter(|p| p.0 == group).collect();
        let mut groups: Vec<Value> = ours.into_iter().collect();
        documents::join_groups(&mut groups, &places);
        let mut v = groups.pop()?;
        v["kind"] = "APIGroup".into();
        v["apiVersion"] = "v1".into();
        Some(v)
    }

    /// What remotes add to OpenAPI v2, each as JSON.
    pub fn v2_parts(&self) -> V2Parts {
        V2Parts(self.snapshot().into_iter().map(|(_, k)| k).collect())
    }

    pub fn join_v3_index(&self, ours: &mut Value) {
        let Some(paths) = ours["paths"].as_object_mut() else { return };
        for ((group, version), k) in self.snapshot() {
            if !k.hash.is_empty() {
                let path = format!("apis/{group}/{version}");
                paths.insert(path.clone(), skiff_json::json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", k.hash)}));
            }
        }
    }
}

/// The parts of OpenAPI v2 that remotes had at one time; equal where they say the same.
pub(crate) struct V2Parts(Vec<Arc<Known>>);

impl PartialEq for V2Parts {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.v2 == b.v2)
    }
}

impl V2Parts {
    pub fn join(&self, ours: &mut Value) {
        for part in self.0.iter().filter_map(|k| skiff_json::from_slice(&k.v2).ok()) {
            documents::join_v2(ours, &part);
        }
    }
}

/// The user as headers, which the remote believes of this server's certificate.
fn remote_user(user: &User) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(v) = HeaderValue::from_str(value) {
            headers.append(name, v);
        }
    };
    add(HeaderName::from_static("x-remote-user"), &user.name);
    if !user.uid.is_empty() {
        add(HeaderName::from_static("x-remote-uid"), &user.uid);
    }
    for g in &user.groups {
        add(HeaderName::from_static("x-remote-group"), g);
    }
    for (key, values) in &user.extra {
        let key: String = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string();
        let Ok(name) = HeaderName::try_from(format!("x-remote-extra-{key}")) else { continue };
        for v in values {
            add(name.clone(), v);
        }
    }
    headers
}

/// Headers that only this server may set on a request to a remote.
pub(crate) fn reserved(name: &header::HeaderName) -> bool {
    name.as_str().starts_with("x-remote-")
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn users_as_headers() {
        let mut user = User::new("ann", ["dev", "ops"]);
        user.extra.insert("example.com/k".into(), vec!["v".into()]);
        let h = remote_user(&user);
        assert_eq!(h.get("x-remote-user").unwrap(), "ann");
        assert_eq!(h.get_all("x-remote-group").iter().count(), 2);
        assert_eq!(h.get("x-remote-extra-example%2ecom%2fk").unwrap(), "v");
        assert!(reserved(&HeaderName::from_static("x-remote-group")) && !reserved(&header::ACCEPT));
    }
}
