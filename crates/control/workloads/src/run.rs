//! Starts all controllers.
use crate::{
    cronjob, daemonset, deployment, disruption, job,
    replicaset::{self, Flavour},
    shell::Deps,
    statefulset,
};
use futures::future::join_all;
use skiff_client::Client;
use skiff_controller::{Clock, Queue, Reconcile, Recorder};
use skiff_informer::Informers;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Gives each controller its client: under the identity `system:serviceaccount:kube-system:<name>`, say.
pub trait ClientFor: Send + Sync {
    fn client(&self, controller: &str) -> Client;
}

impl<F: Fn(&str) -> Client + Send + Sync> ClientFor for F {
    fn client(&self, controller: &str) -> Client {
        self(controller)
    }
}

/// The same client for all.
impl ClientFor for Client {
    fn client(&self, controller: &str) -> Client {
        self.named(controller)
    }
}

type Started = (Queue, Arc<dyn Reconcile>);
/// Its service account's name, the name in its events, how many keys it works on at a time, and what starts it.
type Controller = (&'static str, &'static str, usize, fn(Deps) -> Started);

const CONTROLLERS: &[Controller] = &[
    ("replicaset-controller", "replicaset-controller", 5, |d| replicaset::start(d, Flavour::ReplicaSet)),
    ("replication-controller", "replication-controller", 5, |d| replicaset::start(d, Flavour::ReplicationController)),
    ("deployment-controller", "deployment-controller", 5, deployment::start),
    ("statefulset-controller", "statefulset-controller", 5, statefulset::start),
    ("daemon-set-controller", "daemonset-controller", 2, daemonset::start),
    ("job-controller", "job-controller", 5, job::start),
    ("ttl-after-finished-controller", "ttl-after-finished-controller", 1, job::ttl::start),
    ("cronjob-controller", "cronjob-controller", 5, cronjob::start),
    ("disruption-controller", "controllermanager", 1, disruption::start),
];

/// Runs every controller of this crate until `shutdown`. `informers` are shared with others of the process, and must
/// be allowed to list and watch what workloads are made of.
pub async fn run(clients: impl ClientFor, informers: Informers, recorder: Recorder, clock: Arc<dyn Clock>, shutdown: CancellationToken) {
    let all = CONTROLLERS.iter().map(|(account, component, workers, start)| {
        let deps = Deps { client: clients.client(account), informers: informers.clone(), recorder: recorder.named(component), clock: clock.clone() };
        let (queue, reconciler) = start(deps);
        (*account, *workers, queue, reconciler)
    });
    let all: Vec<_> = all.collect();
    if shutdown.run_until_cancelled(informers.synced()).await.is_none() {
        return;
    }
    join_all(all.into_iter().map(|(name, workers, queue, r)| skiff_controller::run(name, queue, workers, r, shutdown.clone()))).await;
}
