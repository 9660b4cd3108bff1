//! The scheduler's loop: takes pods without a node in the order of their priority, asks `skiff-sched` where they go,
//! and binds them.
//!
//! The snapshot of small facts is kept up to date by informers; a decided pod is put into it at once (assumed), so that
//! the next decision counts it while its binding is still on the way. Pods that fit nowhere wait until something that
//! could help changes. The loop decides one pod at a time; bindings run beside it.

mod bind;
mod cluster;
mod queue;
mod selectors;
mod storage;
mod turn;

pub use queue::PodQueue;

use bind::Binder;
use cluster::Cluster;
use skiff_client::Client;
use skiff_controller::{Clock, Recorder};
use skiff_informer::Informers;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What pods that this scheduler serves name in `spec.schedulerName`.
pub const NAME: &str = "default-scheduler";

/// Runs until `shutdown`. `client` is the identity `system:kube-scheduler`; `recorder` tells events as [`NAME`].
pub async fn run(client: Client, informers: Informers, recorder: Recorder, clock: Arc<dyn Clock>, shutdown: CancellationToken) {
    let queue = PodQueue::new();
    let cluster = Arc::new(Cluster::start(&informers, queue.clone()));
    informers.synced().await;
    let binder = Arc::new(Binder { client, cluster: cluster.clone(), queue: queue.clone(), recorder, clock });
    while let Some(Some(key)) = shutdown.run_until_cancelled(queue.next()).await {
        turn::take(&binder, &key).await;
    }
}
