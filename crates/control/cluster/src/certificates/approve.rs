//! Approves requests of kubelets for client certificates, where the requester may have one: `selfnodeclient` for its
//! own name, `nodeclient` for any node's.
//!
//! Here we are stricter than upstream: whoever only joins gets no certificate in the name of a node that is there already. Else a second
//! machine of that name would take its place, and a token to join would be one to become any node.
use super::{conclude, pending, rules};
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::Node;
use skiff_client::Target;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, Status};
use skiff_pki::Request;
use std::{sync::Arc, time::Duration};

const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Rights that are missing now may be granted later.
const AGAIN: Duration = Duration::from_secs(30);

struct Approver {
    deps: Deps,
    requests: Typed<CertificateSigningRequest>,
    nodes: Typed<Node>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let requests = deps.informers.of::<CertificateSigningRequest>();
    let nodes = deps.informers.of::<Node>();
    let queue = Queue::new();
    let q = queue.clone();
    requests.subscribe(move |c| q.add(c.key()));
    (queue, Arc::new(Approver { deps, requests, nodes }))
}

/// The groups of those who come with a token to join.
const JOINING: &str = "system:bootstrappers";

/// Why somebody who joins may not have the certificate.
fn taken(spec: &CertificateSigningRequestSpec, request: &Request, exists: impl Fn(&str) -> bool) -> Option<String> {
    let joins = spec.groups.iter().flatten().any(|g| g.strip_prefix(JOINING).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')));
    let node = request.common_name.strip_prefix(rules::NODE)?;
    (joins && exists(node))
        .then(|| format!("there is a node {node:?} already; give this machine another name, or delete that node first if this machine takes its place"))
}

/// The rights to try, each with what is said when it is there; none when the request is not a kubelet's.
fn rights(spec: &CertificateSigningRequestSpec, request: &Request) -> Vec<(&'static str, &'static str)> {
    let usages = spec.usages.clone().unwrap_or_default();
    if spec.signer_name != SIGNER || rules::kubelet_client(request, &usages).is_err() {
        return Vec::new();
    }
    let own = spec.username.as_deref() == Some(request.common_name.as_str());
    let own = own.then_some(("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."));
    own.into_iter().chain([("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.")]).collect()
}

#[async_trait]
impl Reconcile for Approver {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some((row, csr, request)) = pending(&self.requests, name, SIGNER)? else { return Ok(Action::Done) };
        let rights = rights(&csr.spec, &request);
        if let Some(why) = taken(&csr.spec, &request, |node| self.nodes.row("", node).is_some()).filter(|_| !rights.is_empty()) {
            conclude(&self.deps.client, &row, "approval", "Denied", "NodeExists", &why).await.at("deny certificate request", name)?;
            return Ok(Action::Done);
        }
        for (right, message) in &rights {
            if self.may(&csr.spec, right).await.at("review access for certificate request", name)? {
                conclude(&self.deps.client, &row, "approval", "Approved", "AutoApproved", message).await.at("approve certificate request", name)?;
                return Ok(Action::Done);
            }
        }
        Ok(if rights.is_empty() { Action::Done } else { Action::RequeueAfter(AGAIN) })
    }
}

impl Approver {
    async fn may(&self, spec: &CertificateSigningRequestSpec, right: &str) -> Result<bool, Status> {
        let attributes =
            json!({"group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create", "subresource": right, "version": "*"});
        let asked = json!({"user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra, "resourceAttributes": attributes});
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": asked});
        let target = Target::new(GroupVersionResource::new("authorization.k8s.io", "v1", "subjectaccessreviews"), "", "");
        let answer: Value = skiff_json::from_slice(&self.deps.client.create_bytes(target, body.to_string()).await?).map_err(Status::internal)?;
        Ok(answer["status"]["allowed"] == true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn own_name_first_then_any_node() {
        let spec = |user: &str, signer: &str| -> CertificateSigningRequestSpec {
            skiff_json::from_value(json!({"request": "", "signerName": signer, "username": user, "usages": ["client auth", "digital signature"]})).unwrap()
        };
        let r = Request::named("system:node:n1", ["system:nodes"]);
        let names = |s: &CertificateSigningRequestSpec| rights(s, &r).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(&spec("system:node:n1", SIGNER)), ["selfnodeclient", "nodeclient"]);
        assert_eq!(names(&spec("system:bootstrap:x", SIGNER)), ["nodeclient"]);
        assert!(names(&spec("system:node:n1", "kubernetes.io/kube-apiserver-client")).is_empty());
    }
    #[test]
    fn a_name_that_is_taken_is_not_for_those_who_join() {
        let spec =
            |group: &str| -> CertificateSigningRequestSpec { skiff_json::from_value(json!({"request": "", "signerName": SIGNER, "groups": [group]})).unwrap() };
        let r = Request::named("system:node:n1", ["system:nodes"]);
        assert!(taken(&spec("system:bootstrappers:skiff"), &r, |n| n == "n1").unwrap().contains("\"n1\""));
        assert_eq!(taken(&spec("system:bootstrappers:skiff"), &r, |_| false), None);
        assert_eq!(taken(&spec("system:nodes"), &r, |_| true), None);
        assert_eq!(taken(&spec("system:bootstrappersome"), &r, |_| true), None);
    }
}
