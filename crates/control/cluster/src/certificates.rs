//! CertificateSigningRequests: who is approved without asking anybody, what each signer of Kubernetes signs, and when
//! old requests go.
//! <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>
//!
//! Beyond upstream, requests of kubelets for serving certificates are approved when they ask for nothing but the
//! node's own name and addresses; upstream leaves that to an administrator.

mod approve;
mod clean;
mod rules;
mod serving;
mod sign;

pub(crate) use approve::start as start_approver;
pub(crate) use clean::{start as start_cleaner, start_pods as start_pod_cleaner};
pub(crate) use serving::start as start_serving_approver;
pub(crate) use sign::start as start_signer;
pub use sign::{Certify, SERVING_APPROVER, Signer};

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use skiff_client::{Client, Target, resource_of};
use skiff_controller::{At, Failed};
use skiff_informer::{Row, Typed};
use skiff_json::{Value, json};
use skiff_meta::Status;
use skiff_pki::Request;
use std::sync::Arc;

fn decided(csr: &CertificateSigningRequest) -> bool {
    condition(csr, "Approved") || condition(csr, "Denied")
}
fn condition(csr: &CertificateSigningRequest, kind: &str) -> bool {
    csr.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == kind)
}
fn issued(csr: &CertificateSigningRequest) -> bool {
    csr.status.as_ref().and_then(|s| s.certificate.as_ref()).is_some_and(|c| !c.0.is_empty())
}

/// A request whose signer this is and about which nobody has concluded, with what it asks for; none where there is nothing to do.
fn pending(requests: &Typed<CertificateSigningRequest>, name: &str, signer: &str) -> Result<Option<(Arc<Row>, CertificateSigningRequest, Request)>, Failed> {
    let Some(row) = requests.row("", name) else { return Ok(None) };
    let csr: CertificateSigningRequest = row.decode().at("read", name)?;
    if csr.spec.signer_name != signer || issued(&csr) || decided(&csr) {
        return Ok(None);
    }
    let request = Request::parse(&csr.spec.request.0).ok();
    Ok(request.map(|r| (row, csr, r)))
}

/// Writes the version that was read with a condition more, through a subresource.
async fn conclude(client: &Client, row: &Row, subresource: &str, kind: &str, reason: &str, message: &str) -> Result<(), Status> {
    let mut object: Value = skiff_json::from_slice(&row.bytes).map_err(Status::internal)?;
    let condition = json!({"type": kind, "status": "True", "reason": reason, "message": message});
    match object["status"]["conditions"].as_array_mut() {
        Some(all) => all.push(condition),
        None => object["status"]["conditions"] = json!([condition]),
    }
    put(client, row, subresource, &object).await
}

async fn put(client: &Client, row: &Row, subresource: &str, object: &Value) -> Result<(), Status> {
    let target = Target::new(resource_of::<CertificateSigningRequest>(), "", row.name()).sub(subresource);
    client.update_bytes(target, object.to_string()).await.map(drop)
}
