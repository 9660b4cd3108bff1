//! Certificates asked for by requests to the cluster's signers.
use crate::IdentityError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
};
use skiff_client::Client;
use skiff_meta::Reason;
use skiff_pki::{Leaf, Profile};
use std::time::Duration;

/// A kind of certificate: who signs it, for which usages.
pub struct Kind {
    signer: &'static str,
    usages: &'static [&'static str],
}

pub const CLIENT: Kind = Kind { signer: "kubernetes.io/kube-apiserver-client-kubelet", usages: &["digital signature", "client auth"] };
pub const SERVING: Kind = Kind { signer: "kubernetes.io/kubelet-serving", usages: &["digital signature", "server auth"] };

/// How long a request may lie there before another one is made.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
pub(crate) const PAUSE: Duration = Duration::from_secs(5);
/// A certificate for a new key. Waits for a server that does not answer; a request that is denied is an error.
pub async fn obtain(client: &Client, kind: &Kind, profile: &Profile) -> Result<Leaf, IdentityError> {
    let key = skiff_pki::new_key()?;
    let request = skiff_pki::request(&key, profile)?;
    loop {
        let name = submit(client, kind, &request).await?;
        if let Some(certificate) = wait(client, &name).await? {
            return Ok(Leaf { certificate, key });
        }
        tracing::warn!(target: "skiff", request = name, signer = kind.signer, "certificate not signed in time, asking again");
    }
}

async fn submit(client: &Client, kind: &Kind, request: &str) -> Result<String, IdentityError> {
    let spec = CertificateSigningRequestSpec {
        request: ByteString(request.as_bytes().to_vec()),
        signer_name: kind.signer.to_owned(),
        usages: Some(kind.usages.iter().map(|u| (*u).to_owned()).collect()),
        ..Default::default()
    };
    let metadata = ObjectMeta { generate_name: Some("csr-".into()), ..Default::default() };
    let csr = CertificateSigningRequest { metadata, spec, status: None };
    let mut pause = Duration::from_millis(200);
    loop {
        match client.create(&csr).await {
            Ok(made) => return Ok(made.metadata.name.unwrap_or_default()),
            Err(e) if [Reason::Unauthorized, Reason::Forbidden, Reason::Invalid].iter().any(|r| e.is(*r)) => return Err(IdentityError::Refused(e)),
            Err(e) => tracing::warn!(target: "skiff", error = %e, "certificate not asked for yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}

/// The signed certificate, PEM; None when it did not come in time or the request is gone.
async fn wait(client: &Client, name: &str) -> Result<Option<String>, IdentityError> {
    let mut pause = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        match client.find::<CertificateSigningRequest>("", name).await {
            Ok(None) => return Ok(None),
            Ok(Some(csr)) => {
                if let Some(done) = outcome(&csr).map_err(|why| IdentityError::Denied { request: name.to_owned(), why })? {
                    return Ok(Some(done));
                }
            }
            Err(e) => tracing::debug!(target: "skiff", request = name, error = %e, "certificate request not read"),
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(PAUSE);
    }
    Ok(None)
}

/// What has become of a request: nothing yet, a certificate, or a refusal.
fn outcome(csr: &CertificateSigningRequest) -> Result<Option<String>, String> {
    let Some(status) = &csr.status else { return Ok(None) };
    if let Some(no) = status.conditions.iter().flatten().find(|c| matches!(c.type_.as_str(), "Denied" | "Failed")) {
        return Err(format!("{}: {}", no.type_, no.message.as_deref().or(no.reason.as_deref()).unwrap_or_default()));
    }
    let Some(bytes) = status.certificate.as_ref().filter(|c| !c.0.is_empty()) else { return Ok(None) };
    String::from_utf8(bytes.0.clone()).map(Some).map_err(|_| "the certificate is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn what_becomes_of_a_request() {
        let csr = |status| {
            skiff_json::from_value::<CertificateSigningRequest>(json!({"metadata": {}, "spec": {"request": "", "signerName": "s"}, "status": status})).unwrap()
        };
        assert_eq!(outcome(&csr(json!({}))).unwrap(), None);
        assert_eq!(outcome(&csr(json!({"certificate": "cGVt"}))).unwrap().as_deref(), Some("pem"));
        let e = outcome(&csr(json!({"conditions": [{"type": "Denied", "status": "True", "message": "no"}]}))).unwrap_err();
        assert_eq!(e, "Denied: no");
    }
}
