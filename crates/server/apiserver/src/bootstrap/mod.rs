//! What a cluster has from its first start: namespaces, the `kubernetes` Service, priorities, flow control, API services.
//!
//! Everything goes through the same door as anybody's requests, under an identity of `system:masters`. What people
//! changed stays; what names this server's own address is brought up to date at each start.

mod data;
mod network;
mod tracking;
mod usage;

pub use network::keep;

use futures::future::{try_join_all, try_join5};
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, Reason, Status};
use skiff_request::{Call, Service, Target, User, Verb};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

/// What bootstrapping must know of this installation.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where clients in the cluster reach the server.
    pub address: IpAddr,
    pub port: u16,
    /// The first address of the service network: the `kubernetes` Service's.
    pub service_address: IpAddr,
    /// Service networks as CIDRs.
    pub networks: Vec<String>,
    pub now: fn() -> SystemTime,
    /// The ConfigMap `kube-system/extension-apiserver-authentication`: how API servers behind this one know it.
    pub authentication: BTreeMap<String, String>,
}

pub(crate) const AGENT: &str = "kube-apiserver";

/// The identity of the server itself.
pub(crate) fn server_user() -> Arc<User> {
    Arc::new(User::new("system:apiserver", [User::MASTERS]))
}

struct Bootstrap<'a> {
    service: &'a dyn Service,
    user: Arc<User>,
}

/// Makes what is missing. Fails when a write fails for another reason than that it was there already. What does not need
/// one another is written at the same time: then it waits for the disk together.
pub async fn bootstrap(service: &dyn Service, facts: &Facts) -> Result<(), Status> {
    let b = Bootstrap { service, user: server_user() };
    let namespace = |name: &str| b.create("", "v1", "namespaces", "", json!({"kind": "Namespace", "metadata": {"name": name}}));
    try_join_all(["kube-system", "kube-public", "kube-node-lease", "default"].map(namespace)).await?;
    let priorities = data::PRIORITIES.iter().map(|(name, value, text)| {
        let object = json!({"kind": "PriorityClass", "metadata": {"name": name}, "value": value, "description": text});
        b.create("scheduling.k8s.io", "v1", "priorityclasses", "", object)
    });
    let api_services = data::api_services().into_iter().map(|object| b.create("apiregistration.k8s.io", "v1", "apiservices", "", object));
    let known =
        json!({"kind": "ConfigMap", "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"}, "data": facts.authentication});
    let known = async {
        b.put("", "v1", "configmaps", "kube-system", known).await?;
        b.tracked((facts.now)()).await?;
        b.usage().await
    };
    try_join5(try_join_all(priorities), crate::flow::create(service), try_join_all(api_services), known, b.network(facts)).await.map(drop)
}

impl Bootstrap<'_> {
    async fn call(&self, verb: Verb, target: Target, v: &Value) -> Result<(), Status> {
        let mut call = Call::new(verb, target).body(v.to_string());
        call.user_agent = AGENT.into();
        self.service.serve(self.user.clone(), call).await.map(drop)
    }

    async fn create(&self, group: &'static str, version: &'static str, resource: &'static str, namespace: &str, object: Value) -> Result<(), Status> {
        let target = Target::new(GroupVersionResource::new(group, version, resource), namespace, "");
        match self.call(Verb::Create, target, &object).await {
            Err(s) if !s.is(Reason::AlreadyExists) => Err(s),
            _ => Ok(()),
        }
    }

    /// Creates it or brings it to this state.
    async fn put(&self, group: &'static str, version: &'static str, resource: &'static str, namespace: &str, object: Value) -> Result<(), Status> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let target = Target::new(GroupVersionResource::new(group, version, resource), namespace, name);
        match self.call(Verb::Update, target, &object).await {
            Err(s) if s.is(Reason::NotFound) => self.create(group, version, resource, namespace, object).await,
            other => other,
        }
    }
}
