//! Certificates that a kubelet asks for are of pods that run on its node, for accounts and signers that the pods name.
use crate::{
    default_class::annotation,
    request::{Operation, forbidden, operation, stored},
    value,
};
use skiff_json::Value;
use skiff_meta::{GroupVersionResource, Status};
use skiff_policy::{Action, Attributes, Authorizer, Decision};
use skiff_request::Target;

pub(super) async fn check(a: &Attributes<'_>, me: &str, authorizer: &dyn Authorizer) -> Result<(), Status> {
    if operation(a) != Operation::Create {
        return Err(forbidden(a, format!("unexpected operation {}", operation(a).as_str())));
    }
    if !a.target.subresource.is_empty() {
        return Err(forbidden(a, format!("unexpected subresource {}", a.target.subresource)));
    }
    let Some(request) = a.object.as_deref() else { return Ok(()) };
    let spec = |k: &str| value::text(request, &format!("spec.{k}"));
    let of = |k: &str| format!("{}/{k}", a.target.namespace);
    if spec("nodeName") != me {
        return Err(forbidden(a, format!("PodCertificateRequest.Spec.NodeName={:?}, which is not the requesting node {me:?}", spec("nodeName"))));
    }
    // What is not there, or is another of the same name, may be a matter of time: no refusal for good.
    let (pod_name, account_name) = (of(spec("podName")), of(spec("serviceAccountName")));
    let node = stored(a, "nodes", "", me)
        .ok_or_else(|| Status::internal(format!("while retrieving node {me:?} named in the PodCertificateRequest: nodes {me:?} not found")))?;
    if value::text(&node, "metadata.uid") != spec("nodeUID") {
        return Err(Status::internal(format!(
            "PodCertificateRequest for pod {pod_name:?} names node UID {:?}, inconsistent with the running node ({:?})",
            spec("nodeUID"),
            value::text(&node, "metadata.uid")
        )));
    }
    let pod = stored(a, "pods", &a.target.namespace, spec("podName")).ok_or_else(|| {
        Status::internal(format!("while retrieving pod {pod_name:?} named in the PodCertificateRequest: pods {:?} not found", spec("podName")))
    })?;
    if value::text(&pod, "metadata.uid") != spec("podUID") {
        return Err(Status::internal(format!(
            "PodCertificateRequest for pod {pod_name:?} contains pod UID ({:?}) which differs from running pod {:?}",
            spec("podUID"),
            value::text(&pod, "metadata.uid")
        )));
    }
    if value::text(&pod, "spec.nodeName") != me {
        return Err(forbidden(a, format!("pod {pod_name:?} is not running on node {me:?} named in the PodCertificateRequest")));
    }
    if annotation(&pod, "kubernetes.io/config.mirror").is_some() {
        return Err(forbidden(a, format!("pod {pod_name:?} is a mirror pod")));
    }
    if spec("serviceAccountName") != value::text(&pod, "spec.serviceAccountName") {
        return Err(forbidden(
            a,
            format!(
                "PodCertificateRequest for pod {pod_name:?} contains serviceAccountName ({:?}) that differs from running pod ({:?})",
                spec("serviceAccountName"),
                value::text(&pod, "spec.serviceAccountName")
            ),
        ));
    }
    let account = stored(a, "serviceaccounts", &a.target.namespace, spec("serviceAccountName"));
    let account = account.ok_or_else(|| {
        Status::internal(format!(
            "while retrieving service account {account_name:?} named in the PodCertificateRequest: serviceaccounts {:?} not found",
            spec("serviceAccountName")
        ))
    })?;
    if value::text(&account, "metadata.uid") != spec("serviceAccountUID") {
        return Err(Status::internal(format!(
            "PodCertificateRequest for pod {pod_name:?} names service account UID {:?}, which differs from the running service account ({:?})",
            spec("serviceAccountUID"),
            value::text(&account, "metadata.uid")
        )));
    }
    signer(a, request, &pod, authorizer).await
}

/// The pod mounts a certificate of the signer, or the node may ask for it anyway.
async fn signer(a: &Attributes<'_>, request: &Value, pod: &Value, authorizer: &dyn Authorizer) -> Result<(), Status> {
    let name = value::text(request, "spec.signerName");
    let sources = value::list(pod, "spec.volumes").iter().flat_map(|v| value::list(v, "projected.sources"));
    if sources.into_iter().any(|s| value::text(s, "podCertificate.signerName") == name) {
        return Ok(());
    }
    let r = &a.target.resource;
    let target = Target::new(
        GroupVersionResource::new(r.group.clone(), r.version.clone(), name.replace('/', ":")),
        a.target.namespace.clone(),
        value::text(request, "spec.serviceAccountName"),
    );
    match authorizer.authorize(a.user, &Action::resource("request-serviceaccounts-podcertificate-signer", target)).await {
        Decision::Allow => Ok(()),
        _ => Err(forbidden(
            a,
            format!(
                "pod {:?} does not mount a podCertificate projected volume for signer {name:?}",
                format!("{}/{}", a.target.namespace, value::text(pod, "metadata.name"))
            ),
        )),
    }
}
