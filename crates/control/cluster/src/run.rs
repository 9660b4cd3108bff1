//! Starts all controllers.
use crate::certificates::{self, Certify, SERVING_APPROVER};
use crate::{
    accounts, autoscale, device_taints, endpoints, garbage, migrations, namespaces, nodes, policies, quota, resource_claims, roles, service_cidrs,
    trust_bundle, volumes,
};
use futures::future::join_all;
use ipnet::IpNet;
use skiff_client::Client;
use skiff_controller::{Clock, Queue, Reconcile, Recorder};
use skiff_informer::Informers;
use skiff_meta::GroupVersionResource;
use std::{path::PathBuf, sync::Arc};
use tokio_util::sync::CancellationToken;

/// What the composition root knows and controllers need.
pub struct Settings {
    /// The certificate authority of the API server, PEM: published in each namespace.
    pub root_ca: String,
    /// Pods' addresses; each node gets a part of it.
    pub cluster_cidrs: Vec<IpNet>,
    /// Prefix length of a node's part, IPv4 and IPv6.
    pub node_prefix: (u8, u8),
    /// Where local-path volumes are made on a node.
    pub local_path: PathBuf,
    /// Every resource that can be listed, watched and deleted, at the time of the call; true when it is namespaced.
    pub resources: Arc<dyn Fn() -> Vec<(GroupVersionResource, bool)> + Send + Sync>,
    /// The resources that serve a kind (group, kind), at the time of the call.
    pub kinds: Arc<dyn Fn(&str, &str) -> Vec<GroupVersionResource> + Send + Sync>,
    /// The kind that a resource holds, at the time of the call.
    pub kind_of: Arc<dyn Fn(&GroupVersionResource) -> Option<String> + Send + Sync>,
    /// Signs the tokens of secrets.
    pub tokens: Arc<dyn accounts::SecretTokens>,
    /// Signs certificates.
    pub certify: Arc<dyn Certify>,
    /// Addresses that no node has: of Services, of a server that is no node.
    pub reserved: Vec<IpNet>,
}

/// What a controller works with.
#[derive(Clone)]
pub(crate) struct Deps {
    pub client: Client,
    pub informers: Informers,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
    pub settings: Arc<Settings>,
}

pub(crate) type Started = (Queue, Arc<dyn Reconcile>);
/// Its service account's name, how many keys it works on at a time, and what starts it.
type Controller = (&'static str, usize, fn(Deps) -> Started);

const CONTROLLERS: &[Controller] = &[
    ("namespace-controller", 4, namespaces::start),
    ("service-account-controller", 1, accounts::start),
    ("tokens-controller", 2, accounts::start_tokens),
    ("legacy-service-account-token-cleaner", 1, accounts::start_legacy),
    ("token-cleaner", 1, accounts::start_joining),
    ("root-ca-cert-publisher", 1, accounts::start_root_ca),
    ("endpointslice-controller", 5, endpoints::start_slices),
    ("endpoint-controller", 5, endpoints::start_endpoints),
    ("endpointslicemirroring-controller", 5, endpoints::start_mirroring),
    ("generic-garbage-collector", 8, garbage::start),
    ("persistent-volume-binder", 4, volumes::start_binder),
    ("local-path-provisioner", 4, volumes::start_provisioner),
    ("expand-controller", 1, volumes::start_expand),
    ("pvc-protection-controller", 1, volumes::start_claim_protection),
    ("pv-protection-controller", 1, volumes::start_volume_protection),
    ("ephemeral-volume-controller", 1, volumes::start_ephemeral),
    ("node-controller", 1, nodes::start_ipam),
    ("node-controller", 2, nodes::start_lifecycle),
    ("node-controller", 2, nodes::start_eviction),
    ("pod-garbage-collector", 1, nodes::start_pod_gc),
    ("clusterrole-aggregation-controller", 1, roles::start),
    ("resourcequota-controller", 2, quota::start),
    ("ttl-controller", 1, nodes::start_ttl),
    ("volumeattributesclass-protection-controller", 1, volumes::start_class_protection),
    ("kube-apiserver-serving-clustertrustbundle-publisher", 1, trust_bundle::start),
    ("validatingadmissionpolicy-status-controller", 2, policies::start),
    ("resource-claim-controller", 2, resource_claims::start),
    ("device-taint-eviction-controller", 1, device_taints::start),
    ("horizontal-pod-autoscaler", 5, autoscale::start),
    ("service-cidrs-controller", 1, service_cidrs::start),
    ("certificate-controller", 2, certificates::start_approver),
    ("certificate-controller", 2, certificates::start_signer),
    ("certificate-controller", 1, certificates::start_cleaner),
    ("podcertificaterequestcleaner", 1, certificates::start_pod_cleaner),
    ("storage-version-migrator-controller", 2, migrations::start),
    (SERVING_APPROVER, 1, certificates::start_serving_approver),
];

/// Runs every controller of this crate until `shutdown`. `clients` gives each its client by the service account's name.
pub async fn run(
    clients: impl Fn(&str) -> Client,
    informers: Informers,
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    settings: Settings,
    shutdown: CancellationToken,
) {
    let settings = Arc::new(settings);
    let start = |(account, workers, start): &Controller| {
        let deps = Deps {
            client: clients(account),
            informers: informers.clone(),
            recorder: recorder.named(account),
            clock: clock.clone(),
            settings: settings.clone(),
        };
        let (queue, reconciler) = start(deps);
        (*account, *workers, queue, reconciler)
    };
    let all: Vec<_> = CONTROLLERS.iter().map(start).collect();
    if shutdown.run_until_cancelled(informers.synced()).await.is_none() {
        return;
    }
    join_all(all.into_iter().map(|(name, workers, queue, r)| skiff_controller::run(name, queue, workers, r, shutdown.clone()))).await;
}
