//! Leases that say that their holder is alive (`coordination.k8s.io/v1`).
use crate::Clock;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};
use skiff_client::{Client, PatchBody};
use skiff_json::json;
use skiff_meta::{Reason, Status};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// One heartbeat.
pub struct Heartbeat {
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    pub namespace: String,
    pub name: String,
    pub holder: String,
    /// How long others should wait before they take the holder for dead, in seconds.
    pub duration_seconds: i32,
    /// Set at creation: for a node's lease, the node.
    pub owner: Option<OwnerReference>,
}

impl Heartbeat {
    /// Renews, or creates the lease when it is not there.
    pub async fn beat(&self) -> Result<(), Status> {
        let now = self.clock.now().to_string();
        let patch = json!({"spec": {"renewTime": now, "holderIdentity": self.holder, "leaseDurationSeconds": self.duration_seconds}});
        match self.client.patch::<Lease>(&self.namespace, &self.name, PatchBody::merge(&patch)).await {
            Err(e) if e.is(Reason::NotFound) => self.client.create(&self.fresh()).await.map(drop),
            done => done.map(drop),
        }
    }
    fn fresh(&self) -> Lease {
        let now = self.clock.now();
        let spec = LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: Some(self.duration_seconds),
            renew_time: micro(now),
            ..Default::default()
        };
        let metadata = ObjectMeta {
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            owner_references: self.owner.clone().map(|o| vec![o]),
            ..Default::default()
        };
        Lease { metadata, spec: Some(spec) }
    }
    /// Beats every `interval` until `shutdown`. A failure is logged and tried again, sooner.
    pub async fn run(self, interval: Duration, shutdown: CancellationToken) {
        loop {
            let wait = match self.beat().await {
                Ok(()) => interval,
                Err(e) => {
                    tracing::warn!(target: "lease", lease = self.name, error = %e, "lease not renewed");
                    interval.min(Duration::from_secs(1))
                }
            };
            if shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }
}

fn micro(t: skiff_meta::MicroTime) -> Option<MicroTime> {
    k8s_openapi::jiff::Timestamp::from_microsecond(t.0).ok().map(MicroTime)
}
