//! Approves requests of kubelets for serving certificates of their own names.
use super::{conclude, pending, rules};
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::Node;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_pki::Request;
use std::{sync::Arc, time::Duration};

pub(super) const SIGNER: &str = "kubernetes.io/kubelet-serving";
/// The node may not have said its addresses yet.
const AGAIN: Duration = Duration::from_secs(5);

struct Approver {
    deps: Deps,
    requests: Typed<CertificateSigningRequest>,
    nodes: Typed<Node>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (requests, nodes) = (deps.informers.of::<CertificateSigningRequest>(), deps.informers.of::<Node>());
    let queue = Queue::new();
    let q = queue.clone();
    requests.subscribe(move |c| q.add(c.key()));
    (queue, Arc::new(Approver { deps, requests, nodes }))
}

/// The node that asks for itself.
fn asker<'a>(spec: &CertificateSigningRequestSpec, request: &'a Request) -> Option<&'a str> {
    let member = spec.groups.iter().flatten().any(|g| g == rules::NODES);
    let own = spec.username.as_deref() == Some(request.common_name.as_str());
    let fits = rules::kubelet_serving(request, spec.usages.as_deref().unwrap_or_default()).is_ok();
    request.common_name.strip_prefix(rules::NODE).filter(|_| member && own && fits)
}

#[async_trait]
impl Reconcile for Approver {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some((row, csr, request)) = pending(&self.requests, name, SIGNER)? else { return Ok(Action::Done) };
        let Some(node) = asker(&csr.spec, &request) else { return Ok(Action::Done) };
        if let Err(why) = rules::own_names(&request, node, &self.nodes.all(), &self.deps.settings.reserved) {
            tracing::debug!(target: "certificates", request = name, why, "not approved");
            return Ok(Action::RequeueAfter(AGAIN));
        }
        conclude(&self.deps.client, &row, "approval", "Approved", "AutoApproved", "Auto approving kubelet serving certificate of the node's own names.")
            .await
            .at("approve certificate request", name)?;
        Ok(Action::Done)
    }
}
