//! NodeRestriction: a kubelet writes only what is its own node's.
//!
//! The Node authoriser decides by names what a kubelet may reach; this looks into the objects. Tokens come here when
//! the TokenRequest is shown to admission.

mod node;
mod pod;
mod pod_certificate;
mod token;

use crate::{
    certificates::request_subject,
    request::{Operation, about, forbidden, operation},
    value,
};
use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes, Authorizer};
use std::sync::Arc;

pub struct NodeRestriction {
    /// Asked whether a node may have tokens for an audience that no volume of the pod names.
    pub authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl Admission for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if operation(a) == Operation::Delete { Ok(()) } else { self.check(a).await }
    }
    /// Deletions are shown to validation alone.
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if operation(a) == Operation::Delete { self.check(a).await } else { Ok(()) }
    }
}

impl NodeRestriction {
    async fn check(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let Some(me) = a.user.node() else { return Ok(()) };
        if me.is_empty() {
            return Err(forbidden(a, format!("could not determine node from user {:?}", a.user.name)));
        }
        let r = &a.target.resource;
        match (&*r.group, &*r.resource) {
            ("", "pods") => pod::check(a, me),
            ("", "nodes") => node::check(a, me),
            ("", "persistentvolumeclaims") => claim(a, me),
            ("", "persistentvolumes") => volume(a, me),
            ("", "serviceaccounts") if a.target.subresource == "token" && operation(a) == Operation::Create => token::check(a, me, &*self.authorizer).await,
            ("coordination.k8s.io", "leases") => lease(a, me),
            ("storage.k8s.io", "csinodes") if name(a) != me => Err(forbidden(a, "can only access CSINode with the same name as the requesting node")),
            ("resource.k8s.io", "resourceslices") => slice(a, me),
            ("certificates.k8s.io", "podcertificaterequests") => pod_certificate::check(a, me, &*self.authorizer).await,
            ("certificates.k8s.io", "certificatesigningrequests") => signing_request(a, me),
            _ => Ok(()),
        }
    }
}

fn name<'b>(a: &'b Attributes<'_>) -> &'b str {
    match a.target.name.as_str() {
        "" => a.object.as_deref().map(|o| value::text(o, "metadata.name")).unwrap_or_default(),
        name => name,
    }
}

fn lease(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    if a.target.namespace != "kube-node-lease" {
        return Err(forbidden(a, "can only access leases in the \"kube-node-lease\" system namespace"));
    }
    if name(a) != me {
        return Err(forbidden(a, "can only access node lease with the same name as the requesting node"));
    }
    Ok(())
}

/// The sizes and conditions of a claim are the kubelet's to report, and nothing else of it.
fn claim(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    if a.target.subresource != "status" {
        return Err(forbidden(a, "may only update PVC status"));
    }
    if operation(a) != Operation::Update {
        return Err(forbidden(a, format!("unexpected operation {:?}", operation(a).as_str())));
    }
    let plain = |v: &Value| {
        let mut v = v.clone();
        for (part, keys) in [
            ("metadata", &["resourceVersion", "managedFields"][..]),
            ("status", &["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"][..]),
        ] {
            for key in keys {
                v.get_mut(part).and_then(Value::as_object_mut).map(|m| m.remove(key));
            }
        }
        v
    };
    if a.old.map(plain) != a.object.as_deref().map(plain) {
        return Err(forbidden(a, format!("node {me:?} is not allowed to update fields other than status.quantity and status.conditions")));
    }
    Ok(())
}

/// Upstream's nodes have no hand in volumes. Ours remove the released volumes that the local-path provisioner made on them.
fn volume(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    let made_here = |v: &Value| v.pointer("/metadata/annotations/local.path.provisioner~1selected-node").and_then(Value::as_str) == Some(me);
    let released = |v: &Value| value::text(v, "status.phase") == "Released";
    if operation(a) == Operation::Delete && a.old.is_some_and(|v| made_here(v) && released(v)) {
        return Ok(());
    }
    Err(forbidden(a, format!("node {me:?} may only delete released local-path volumes of its own")))
}

fn slice(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    let (v, verb) = match operation(a) {
        Operation::Create => (a.object.as_deref(), "create"),
        Operation::Delete => (a.old, "delete"),
        Operation::Update | Operation::Connect => return Ok(()),
    };
    if v.is_some_and(|v| value::text(v, "spec.nodeName") == me) {
        return Ok(());
    }
    Err(forbidden(a, format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")))
}

/// A kubelet asks for certificates in its own name.
fn signing_request(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    let Some(v) = a.object.as_deref().filter(|_| operation(a) == Operation::Create && about(a, "certificates.k8s.io", "certificatesigningrequests")) else {
        return Ok(());
    };
    if !matches!(value::text(v, "spec.signerName"), "kubernetes.io/kubelet-serving" | "kubernetes.io/kube-apiserver-client-kubelet") {
        return Ok(());
    }
    let subject = request_subject(v).map_err(|why| forbidden(a, format!("unable to parse csr: {why}")))?;
    if subject.common_name != format!("system:node:{me}") {
        return Err(forbidden(a, format!("can only create a node CSR with CN=system:node:{me}")));
    }
    Ok(())
}
