//! The pods of a node: mirrors of static pods are the kubelet's to make, all others to report on, evict and delete.
use crate::{
    default_class::annotation,
    request::{Operation, forbidden, operation, stored},
    value,
};
use skiff_json::Value;
use skiff_meta::{GroupResource, Status};
use skiff_policy::Attributes;

const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn check(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    let refuse = |why: String| Err(forbidden(a, why));
    match (a.target.subresource.as_str(), operation(a)) {
        ("", Operation::Create) => created(a, me),
        ("", Operation::Delete) => match a.old {
            Some(pod) if value::text(pod, "spec.nodeName") != me => refuse(format!("node {me:?} can only delete pods with spec.nodeName set to itself")),
            _ => Ok(()),
        },
        ("", o) => refuse(format!("unexpected operation {:?}, node {me:?} can only create and delete mirror pods", o.as_str())),
        ("status", Operation::Update) => status(a, me),
        ("eviction", Operation::Create) => evicted(a, me),
        ("status", o) => refuse(format!("unexpected operation {:?}", o.as_str())),
        ("eviction", o) => refuse(format!("unexpected operation {}", o.as_str())),
        (other, _) => refuse(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")),
    }
}

fn evicted(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    let pod = stored(a, "pods", &a.target.namespace, super::name(a)).ok_or_else(|| Status::not_found(&GroupResource::new("", "pods"), super::name(a)))?;
    if value::text(&pod, "spec.nodeName") == me { Ok(()) } else { Err(forbidden(a, format!("node {me} can only evict pods with spec.nodeName set to itself"))) }
}

fn status(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    let (Some(old), Some(pod)) = (a.old, a.object.as_deref()) else { return Ok(()) };
    if value::text(old, "spec.nodeName") != me {
        return Err(forbidden(a, format!("node {me:?} can only update pod status for pods with spec.nodeName set to itself")));
    }
    let empty = skiff_json::Map::new();
    let labels = |v| value::map(v, "metadata.labels").unwrap_or(&empty);
    for (same, why) in [
        (labels(old) == labels(pod), "cannot update labels through pod status"),
        (value::list(old, "status.resourceClaimStatuses") == value::list(pod, "status.resourceClaimStatuses"), "cannot update resource claim statues"),
        (
            value::at(old, "status.extendedResourceClaimStatus") == value::at(pod, "status.extendedResourceClaimStatus"),
            "cannot update extended resource claim status",
        ),
        (
            value::list(old, "status.nodeAllocatableResourceClaimStatuses") == value::list(pod, "status.nodeAllocatableResourceClaimStatuses"),
            "cannot update node allocatable resource claim statuses",
        ),
    ] {
        if !same {
            return Err(forbidden(a, format!("node {me:?} {why}")));
        }
    }
    Ok(())
}

fn created(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    let Some(pod) = a.object.as_deref() else { return Ok(()) };
    let owner = match value::list(pod, "metadata.ownerReferences") {
        [one] => Some(one),
        _ => None,
    };
    let owned = |o: &Value| value::text(o, "apiVersion") == "v1" && value::text(o, "kind") == "Node" && value::text(o, "name") == me;
    let why = if annotation(pod, MIRROR).is_none() {
        format!("pod does not have {MIRROR:?} annotation, node {me:?} can only create mirror pods")
    } else if value::text(pod, "spec.nodeName") != me {
        format!("node {me:?} can only create pods with spec.nodeName set to itself")
    } else if value::list(pod, "metadata.ownerReferences").len() > 1 {
        format!("node {me:?} can only create pods with a single owner reference set to itself")
    } else if !owner.is_some_and(owned) {
        format!("node {me:?} can only create pods with an owner reference set to itself")
    } else if !owner.is_some_and(|o| value::flag(o, "controller")) {
        format!("node {me:?} can only create pods with a controller owner reference set to itself")
    } else if owner.is_some_and(|o| value::flag(o, "blockOwnerDeletion")) {
        format!("node {me:?} must not set blockOwnerDeletion on an owner reference")
    } else if let Some(what) = reference(pod) {
        format!("node {me:?} can not create pods that reference {what}")
    } else {
        let node = stored(a, "nodes", "", me).ok_or_else(|| Status::not_found(&GroupResource::new("", "nodes"), me))?;
        let (want, given) = (value::text(&node, "metadata.uid"), owner.map(|o| value::text(o, "uid")).unwrap_or_default());
        if want == given {
            return Ok(());
        }
        format!("node {me} UID mismatch: expected {given} got {want}")
    };
    Err(forbidden(a, why))
}

/// What a static pod may not refer to, since a kubelet could read it by a mirror of its own making.
fn reference(pod: &Value) -> Option<&'static str> {
    let containers = || ["containers", "initContainers", "ephemeralContainers"].into_iter().flat_map(|k| value::list(pod, &format!("spec.{k}")));
    let by_env = |one: &str, whole: &str| {
        containers().any(|c| {
            value::list(c, "env").iter().any(|e| value::at(e, &format!("valueFrom.{one}")).is_some())
                || value::list(c, "envFrom").iter().any(|e| value::at(e, whole).is_some())
        })
    };
    if !value::text(pod, "spec.serviceAccountName").is_empty() {
        return Some("serviceaccounts");
    }
    if crate::service_account::refers_to_secrets(pod) {
        return Some("secrets");
    }
    let volumes = value::list(pod, "spec.volumes");
    let projected = || volumes.iter().flat_map(|v| value::list(v, "projected.sources"));
    if by_env("configMapKeyRef", "configMapRef")
        || volumes.iter().any(|v| value::at(v, "configMap").is_some())
        || projected().any(|s| value::at(s, "configMap").is_some())
    {
        return Some("configmaps");
    }
    if !value::list(pod, "spec.resourceClaims").is_empty() {
        return Some("resourceclaims");
    }
    for (key, what) in [
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ] {
        if volumes.iter().any(|v| value::at(v, key).is_some()) {
            return Some(what);
        }
    }
    let sources = [
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    sources.into_iter().find(|(key, _)| projected().any(|s| value::at(s, key).is_some())).map(|(_, what)| what)
}
