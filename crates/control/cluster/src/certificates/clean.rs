//! Removes requests that nobody needs any more.
use super::issued;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, PodCertificateRequest};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_client::DeleteOptions;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use std::{sync::Arc, time::Duration};

const LOOK: Duration = Duration::from_secs(3600);
/// Seconds after which a request goes: once decided, or while nothing came of it.
const ENDED: i64 = 3600;
const WAITING: i64 = 24 * 3600;
/// Pods are issued theirs within moments.
const POD_LOOK: Duration = Duration::from_secs(300);
const POD_LIFE: i64 = 15 * 60;

fn older(t: Option<&Time>, now: i64, seconds: i64) -> bool {
    t.is_some_and(|t| now - t.0.as_second() > seconds)
}

fn stale(csr: &CertificateSigningRequest, now: i64) -> bool {
    let conditions: Vec<_> = csr.status.iter().flat_map(|s| s.conditions.iter().flatten()).collect();
    if conditions.is_empty() {
        return older(csr.metadata.creation_timestamp.as_ref(), now, WAITING);
    }
    let issued = issued(csr);
    let over = || csr.status.as_ref().and_then(|s| s.certificate.as_ref()).and_then(|c| skiff_pki::expiry(&c.0)).is_some_and(|end| now > end);
    conditions.iter().any(|c| match c.type_.as_str() {
        "Denied" | "Failed" => older(c.last_update_time.as_ref(), now, ENDED),
        "Approved" if issued => older(c.last_update_time.as_ref(), now, ENDED) || over(),
        "Approved" => older(c.last_update_time.as_ref(), now, WAITING),
        _ => false,
    })
}

struct Cleaner {
    deps: Deps,
    requests: Typed<CertificateSigningRequest>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let requests = deps.informers.of::<CertificateSigningRequest>();
    let queue = Queue::new();
    queue.add("all");
    (queue, Arc::new(Cleaner { deps, requests }))
}

#[async_trait]
impl Reconcile for Cleaner {
    async fn reconcile(&self, _: &str) -> Result<Action, Failed> {
        let now = self.deps.clock.seconds().0;
        for csr in self.requests.all().into_iter().filter(|c| stale(c, now)) {
            let name = csr.metadata.name.unwrap_or_default();
            let options = DeleteOptions::default().uid(csr.metadata.uid.as_deref().unwrap_or_default());
            self.deps.client.delete::<CertificateSigningRequest>("", &name, &options).await.at("remove old certificate request", &name)?;
        }
        Ok(Action::RequeueAfter(LOOK))
    }
}

struct PodCleaner {
    deps: Deps,
    requests: Typed<PodCertificateRequest>,
}

pub(crate) fn start_pods(deps: Deps) -> Started {
    let requests = deps.informers.of::<PodCertificateRequest>();
    let queue = Queue::new();
    queue.add("all");
    (queue, Arc::new(PodCleaner { deps, requests }))
}

#[async_trait]
impl Reconcile for PodCleaner {
    async fn reconcile(&self, _: &str) -> Result<Action, Failed> {
        let now = self.deps.clock.seconds().0;
        for r in self.requests.all().into_iter().filter(|r| older(r.metadata.creation_timestamp.as_ref(), now, POD_LIFE)) {
            let (namespace, name) = (r.metadata.namespace.unwrap_or_default(), r.metadata.name.unwrap_or_default());
            let options = DeleteOptions::default().uid(r.metadata.uid.as_deref().unwrap_or_default());
            self.deps.client.delete::<PodCertificateRequest>(&namespace, &name, &options).await.at("remove old pod certificate request", &name)?;
        }
        Ok(Action::RequeueAfter(POD_LOOK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::{Value, json};
    #[test]
    fn ended_requests_go_after_an_hour_open_ones_after_a_day() {
        let csr = |status: Value| -> CertificateSigningRequest {
            skiff_json::from_value(
                json!({"metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"}, "spec": {"request": "", "signerName": "a/b"}, "status": status}),
            )
            .unwrap()
        };
        let at = |kind: &str| json!([{"type": kind, "status": "True", "lastUpdateTime": "1970-01-01T00:00:00Z"}]);
        let cases = [
            (json!({}), WAITING),
            (json!({"conditions": at("Denied")}), ENDED),
            (json!({"conditions": at("Failed")}), ENDED),
            (json!({"conditions": at("Approved")}), WAITING),
            (json!({"conditions": at("Approved"), "certificate": "eA=="}), ENDED),
        ];
        for (status, life) in cases {
            assert!(!stale(&csr(status.clone()), life) && stale(&csr(status.clone()), life + 1), "{status}");
        }
    }
}
