//! What a pod's claims are and when they are let go, pure.
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use skiff_json::{Value, json};

const ENTRY: &str = "resource.kubernetes.io/pod-claim-name";
pub(super) const FINALIZER: &str = "resource.kubernetes.io/delete-protection";

pub(super) fn done(pod: &Pod) -> bool {
    let over = matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
    let unplaced = pod.spec.as_ref().is_none_or(|s| s.node_name.as_deref().unwrap_or_default().is_empty());
    over || (pod.metadata.deletion_timestamp.is_some() && unplaced)
}

/// The pod's entries with a template: (entry, template).
pub(super) fn templated(pod: &Pod) -> Vec<(String, String)> {
    let entries = pod.spec.iter().flat_map(|s| s.resource_claims.iter().flatten());
    entries.filter_map(|c| Some((c.name.clone(), c.resource_claim_template_name.clone()?))).collect()
}

/// The claim that the pod's status names for an entry.
pub(super) fn known(pod: &Pod, entry: &str) -> Option<String> {
    let all = pod.status.iter().flat_map(|s| s.resource_claim_statuses.iter().flatten());
    all.filter(|s| s.name == entry).find_map(|s| s.resource_claim_name.clone())
}

/// The pod that controls the claim: name and uid.
pub(super) fn owner(c: &ResourceClaim) -> Option<(String, String)> {
    let o = c.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true) && o.kind == "Pod")?;
    Some((o.name.clone(), o.uid.clone()))
}

pub(super) fn made_for(c: &ResourceClaim, pod: &Pod, entry: &str) -> bool {
    let same = c.metadata.annotations.iter().flatten().any(|(k, v)| k == ENTRY && v == entry);
    same && c.metadata.deletion_timestamp.is_none() && owner(c).is_some_and(|(_, uid)| Some(&uid) == pod.metadata.uid.as_ref())
}

/// Whether a pod owns the claim or has reserved it.
pub(super) fn concerns(c: &ResourceClaim, pod_uid: &str) -> bool {
    let reserved = c.status.iter().flat_map(|s| s.reserved_for.iter().flatten()).any(|r| r.uid == pod_uid);
    reserved || owner(c).is_some_and(|(_, uid)| uid == pod_uid)
}

/// The claim of a pod's entry, as its template has it.
pub(super) fn claim(pod: &Pod, entry: &str, t: &ResourceClaimTemplate) -> Value {
    let m = &pod.metadata;
    let name = m.name.as_deref().unwrap_or_default();
    let template = t.spec.clone().unwrap_or_default();
    let own = template.metadata.unwrap_or_default();
    let mut annotations = own.annotations.unwrap_or_default();
    annotations.insert(ENTRY.into(), entry.into());
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"generateName": format!("{name}-{entry}-"), "namespace": m.namespace, "labels": own.labels, "annotations": annotations,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": m.uid, "controller": true, "blockOwnerDeletion": true}]},
        "spec": template.spec})
}

/// The changed part of the status when pods that reserved the claim are over; null removes. None: nothing to do.
pub(super) fn released(c: &ResourceClaim, alive: &dyn Fn(&str, &str) -> bool) -> Option<Value> {
    let status = c.status.as_ref()?;
    let all: Vec<_> = status.reserved_for.iter().flatten().collect();
    let kept: Vec<_> = all.iter().filter(|r| r.resource != "pods" || r.api_group.as_deref().is_some_and(|g| !g.is_empty()) || alive(&r.name, &r.uid)).collect();
    let stale = kept.len() < all.len();
    if kept.is_empty() && status.allocation.is_some() && (stale || c.metadata.deletion_timestamp.is_some()) {
        return Some(json!({"reservedFor": null, "allocation": null, "devices": null}));
    }
    stale.then(|| json!({"reservedFor": kept}))
}

/// Whether the finalizer has nothing left to protect.
pub(super) fn unprotected(c: &ResourceClaim) -> bool {
    let has = c.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER);
    let free = c.status.as_ref().is_none_or(|s| s.allocation.is_none() && s.reserved_for.as_ref().is_none_or(Vec::is_empty));
    has && free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(v: Value) -> Pod {
        let mut base = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": [], "nodeName": "node", "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}, {"name": "own", "resourceClaimName": "x"}]}});
        for (k, x) in v.as_object().into_iter().flatten() {
            base[k] = x.clone();
        }
        skiff_json::from_value(base).unwrap()
    }

    #[test]
    fn a_claim_a_template() {
        let p = pod(json!({}));
        assert_eq!(templated(&p), [("gpu".to_owned(), "t".to_owned())]);
        let t: ResourceClaimTemplate =
            skiff_json::from_value(json!({"metadata": {}, "spec": {"metadata": {"labels": {"a": "b"}}, "spec": {"devices": {"requests": []}}}})).unwrap();
        let made: ResourceClaim = skiff_json::from_value(claim(&p, "gpu", &t)).unwrap();
        assert_eq!(made.metadata.generate_name.as_deref(), Some("p-gpu-"));
        assert!(made_for(&made, &p, "gpu") && !made_for(&made, &p, "own") && concerns(&made, "u"));
        let told = pod(json!({"status": {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "p-gpu-x"}]}}));
        assert_eq!(known(&told, "gpu").as_deref(), Some("p-gpu-x"));
    }

    #[test]
    fn reservations_end_with_their_pods() {
        let c: ResourceClaim = skiff_json::from_value(json!({"metadata": {"finalizers": [FINALIZER]}, "spec": {}, "status": {"allocation": {}, "reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}, {"resource": "pods", "name": "q", "uid": "v"}]}})).unwrap();
        assert_eq!(released(&c, &|_, _| true), None);
        assert_eq!(released(&c, &|pod, _| pod == "q").unwrap()["reservedFor"].as_array().unwrap().len(), 1);
        assert_eq!(released(&c, &|_, _| false).unwrap()["allocation"], Value::Null);
        assert!(!unprotected(&c));
        let free: ResourceClaim = skiff_json::from_value(json!({"metadata": {"finalizers": [FINALIZER]}, "spec": {}})).unwrap();
        assert!(unprotected(&free));
    }
}
