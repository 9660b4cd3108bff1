//! Plug-ins of certificates: who approves, signs and attests for a signer, and what may be asked for.
mod signer;
mod subject;

pub(crate) use subject::request_subject;

use crate::{
    request::{Operation, about, creates, forbidden, operation},
    value,
};
use async_trait::async_trait;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes, Authorizer};
use std::sync::Arc;

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

pub struct CertificateApproval {
    pub authorizer: Arc<dyn Authorizer>,
}
pub struct CertificateSigning {
    pub authorizer: Arc<dyn Authorizer>,
}
pub struct ClusterTrustBundleAttest {
    pub authorizer: Arc<dyn Authorizer>,
}
pub struct CertificateSubjectRestriction;

#[async_trait]
impl Admission for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.target.subresource != "approval" || !about(a, GROUP, REQUESTS) || operation(a) != Operation::Update {
            return Ok(());
        }
        // By the stored request: the signer in the new one is the client's word.
        let signer = a.old.map(|o| value::text(o, "spec.signerName")).unwrap_or_default();
        if signer::allows(&*self.authorizer, a.user, "approve", signer).await {
            return Ok(());
        }
        Err(forbidden(a, format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

#[async_trait]
impl Admission for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.target.subresource != "status" || !about(a, GROUP, REQUESTS) || operation(a) != Operation::Update {
            return Ok(());
        }
        let (Some(old), Some(new)) = (a.old, a.object.as_deref()) else { return Ok(()) };
        let unchanged = value::text(old, "status.certificate") == value::text(new, "status.certificate")
            && value::list(old, "status.conditions") == value::list(new, "status.conditions");
        let signer = value::text(old, "spec.signerName");
        if unchanged || signer::allows(&*self.authorizer, a.user, "sign", signer).await {
            return Ok(());
        }
        Err(forbidden(a, format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

#[async_trait]
impl Admission for ClusterTrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !about(a, GROUP, "clustertrustbundles") || operation(a) == Operation::Delete {
            return Ok(());
        }
        let signer = a.object.as_deref().map(|o| value::text(o, "spec.signerName")).unwrap_or_default();
        // The garbage collector and storage migration write what is there.
        let same = |path| a.old.map(|o| value::at(o, path)) == a.object.as_deref().map(|o| value::at(o, path));
        let unchanged = a.old.is_some() && same("spec") && same("metadata.labels") && same("metadata.annotations");
        if signer.is_empty() || unchanged || signer::allows(&*self.authorizer, a.user, "attest", signer).await {
            return Ok(());
        }
        Err(forbidden(a, format!("user not permitted to attest for signerName {signer:?}")))
    }
}

#[async_trait]
impl Admission for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(v) = a.object.as_deref().filter(|_| creates(a, GROUP, REQUESTS)) else { return Ok(()) };
        if value::text(v, "spec.signerName") != CLIENT_SIGNER {
            return Ok(());
        }
        let subject = request_subject(v).map_err(|why| forbidden(a, format!("failed to parse CSR: {why}")))?;
        if subject.organizations.iter().any(|o| o == "system:masters") {
            return Err(forbidden(a, format!("use of {CLIENT_SIGNER} signer with system:masters group is not allowed")));
        }
        Ok(())
    }
}
