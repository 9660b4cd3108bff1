//! The signers of Kubernetes: each signs approved requests that fit its purpose, and fails those that don't.
use super::{conclude, condition, issued, put, rules};
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Row, Typed};
use skiff_json::Value;
use skiff_meta::Status;
use skiff_pki::{Grant, PkiError, Request, Usages};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The account that approves serving certificates; upstream's default roles do not know it.
pub const SERVING_APPROVER: &str = "kubelet-serving-approver";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    ApiClient,
    KubeletClient,
    KubeletServing,
    LegacyUnknown,
}

impl Signer {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "kubernetes.io/kube-apiserver-client" => Self::ApiClient,
            "kubernetes.io/kube-apiserver-client-kubelet" => Self::KubeletClient,
            super::serving::SIGNER => Self::KubeletServing,
            "kubernetes.io/legacy-unknown" => Self::LegacyUnknown,
            _ => return None,
        })
    }
    fn check(self, request: &Request, usages: &[String]) -> Result<(), String> {
        match self {
            Self::ApiClient => rules::client(usages),
            Self::KubeletClient => rules::kubelet_client(request, usages),
            Self::KubeletServing => rules::kubelet_serving(request, usages),
            Self::LegacyUnknown => Ok(()),
        }
    }
}

/// Whoever holds the keys of the authorities.
pub trait Certify: Send + Sync {
    /// The certificate, PEM, signed by the signer's authority.
    fn certify(&self, signer: Signer, request: &Request, grant: &Grant) -> Result<String, PkiError>;
    /// A serial number: random.
    fn serial(&self) -> [u8; 16];
}

const LONGEST: u64 = 365 * 86_400;
const SHORTEST: u64 = 600;
/// Clocks differ by up to this.
const BACKDATE: u64 = 300;
/// A life shorter than this is not cut by the backdating.
const SHORT: u64 = 8 * 3600;

/// From when until when, around `now`, for the life that was asked for, in seconds.
fn validity(now: u64, asked: Option<i32>) -> (u64, u64) {
    let life = asked.map_or(LONGEST, |s| u64::try_from(s).unwrap_or_default().clamp(SHORTEST, LONGEST));
    let end = if life < SHORT { now + life } else { now + life - BACKDATE };
    (now.saturating_sub(BACKDATE), end)
}

struct Signing {
    deps: Deps,
    requests: Typed<CertificateSigningRequest>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let requests = deps.informers.of::<CertificateSigningRequest>();
    let queue = Queue::new();
    let q = queue.clone();
    requests.subscribe(move |c| q.add(c.key()));
    (queue, Arc::new(Signing { deps, requests }))
}

#[async_trait]
impl Reconcile for Signing {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(row) = self.requests.row("", name) else { return Ok(Action::Done) };
        let csr: CertificateSigningRequest = row.decode().at("read", name)?;
        let Some(signer) = Signer::of(&csr.spec.signer_name) else { return Ok(Action::Done) };
        if issued(&csr) || !condition(&csr, "Approved") || condition(&csr, "Denied") || condition(&csr, "Failed") {
            return Ok(Action::Done);
        }
        let request =
            Request::parse(&csr.spec.request.0).map_err(|e| Status::internal(format!("unable to parse csr: {e}"))).at("sign certificate request", name)?;
        match signer.check(&request, csr.spec.usages.as_deref().unwrap_or_default()) {
            Err(why) => conclude(&self.deps.client, &row, "status", "Failed", "SignerValidationFailure", &why).await.at("fail certificate request", name)?,
            Ok(()) => self.sign(signer, &row, &csr.spec, &request).await.at("sign certificate request", name)?,
        }
        Ok(Action::Done)
    }
}

impl Signing {
    async fn sign(&self, signer: Signer, row: &Row, spec: &CertificateSigningRequestSpec, request: &Request) -> Result<(), Status> {
        let usages =
            Usages::of(spec.usages.as_deref().unwrap_or_default()).map_err(|unknown| Status::internal(format!("unrecognized usage values: {unknown:?}")))?;
        let now = u64::try_from(self.deps.clock.seconds().0).unwrap_or_default();
        let (from, until) = validity(now, spec.expiration_seconds);
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let certify = &self.deps.settings.certify;
        let grant = Grant { usages, not_before: at(from), not_after: at(until), serial: certify.serial() };
        let certificate = certify.certify(signer, request, &grant).map_err(|e| Status::internal(format!("error auto signing csr: {e}")))?;
        let mut object: Value = skiff_json::from_slice(&row.bytes).map_err(Status::internal)?;
        object["status"]["certificate"] = skiff_json::to_value(ByteString(certificate.into_bytes())).map_err(Status::internal)?;
        put(&self.deps.client, row, "status", &object).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn lives_are_clamped_and_backdated() {
        assert_eq!(validity(1_000_000, None), (999_700, 1_000_000 + LONGEST - BACKDATE));
        assert_eq!(validity(1_000_000, Some(3600)), (999_700, 1_003_600));
        assert_eq!(validity(1_000_000, Some(1)), (999_700, 1_000_600));
        assert_eq!(validity(1_000_000, Some(i32::MAX)), (999_700, 1_000_000 + LONGEST - BACKDATE));
    }
}
