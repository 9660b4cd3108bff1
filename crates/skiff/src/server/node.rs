//! The node in a server's process: it asks the registry directly, under an identity of its own.
use crate::facts::Facts;
use crate::node::{Agent, Wiring, settings::NodeSettings};
use crate::server::api::Api;
use crate::server::gate::NodeGate;
use skiff_informer::Informers;
use skiff_pki::{Profile, Usage};
use skiff_request::User;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub async fn start(api: &Api, n: &NodeSettings, facts: &Facts, informers: &Informers, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Agent> {
    let wiring = Wiring {
        client: api.client(User::new(format!("system:node:{}", n.name), ["system:nodes", User::AUTHENTICATED]), "kubelet"),
        reclaim: api.client(User::new("system:serviceaccount:kube-system:local-path-provisioner", [User::AUTHENTICATED]), "local-path-provisioner"),
        informers: informers.clone(),
        gate: Arc::new(NodeGate { node: n.name.clone(), authenticator: api.authenticator.clone(), authorizer: api.authorizer() }),
        tls: tls(api, n)?,
    };
    crate::node::start(n, facts, wiring, tasks, stop).await
}

fn tls(api: &Api, n: &NodeSettings) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let profile = Profile {
        common_name: format!("system:node:{}", n.name),
        organizations: vec!["system:nodes".into()],
        dns_names: vec![n.name.clone(), "localhost".into()],
        addresses: vec![n.address, [127, 0, 0, 1].into()],
        usage: Usage::Server,
    };
    let leaf = api.keys.server_ca.leaf("serving-kubelet", &profile, SystemTime::now())?;
    let tls = skiff_apiserver::TlsMaterial {
        certificate: leaf.certificate.into(),
        key: leaf.key.into(),
        client_ca: api.keys.client_ca.certificate().as_bytes().to_vec(),
    };
    Ok(skiff_apiserver::Tls::new(&tls)?.config_without_http2())
}
