//! Tokens that a kubelet asks for are bound to a pod that runs on its node, for an audience that the pod names.
use crate::{
    request::{forbidden, stored},
    value,
};
use skiff_json::Value;
use skiff_meta::{GroupResource, GroupVersionResource, Status};
use skiff_policy::{Action, Attributes, Authorizer, Decision};
use skiff_request::Target;

pub(super) async fn check(a: &Attributes<'_>, me: &str, authorizer: &dyn Authorizer) -> Result<(), Status> {
    let Some(request) = a.object.as_deref() else { return Ok(()) };
    let bound = |k: &str| value::text(request, &format!("spec.boundObjectRef.{k}"));
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
        return Err(forbidden(a, "node requested token not bound to a pod"));
    }
    if bound("uid").is_empty() {
        return Err(forbidden(a, "node requested token with a pod binding without a uid"));
    }
    let pod = stored(a, "pods", &a.target.namespace, bound("name")).ok_or_else(|| Status::not_found(&GroupResource::new("", "pods"), bound("name")))?;
    if value::text(&pod, "metadata.uid") != bound("uid") {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            bound("uid")
        );
        return Err(forbidden(a, why));
    }
    if value::text(&pod, "spec.nodeName") != me {
        return Err(forbidden(a, "node requested token bound to a pod scheduled on a different node"));
    }
    audience(a, request, &pod, authorizer).await
}

async fn audience(a: &Attributes<'_>, request: &Value, pod: &Value, authorizer: &dyn Authorizer) -> Result<(), Status> {
    let audience = match value::list(request, "spec.audiences") {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Err(forbidden(a, "node may only request 0 or 1 audiences")),
    };
    if named(a, pod, audience) {
        return Ok(());
    }
    let r = &a.target.resource;
    let target =
        Target::new(GroupVersionResource::new(r.group.clone(), r.version.clone(), audience.to_owned()), a.target.namespace.clone(), a.target.name.clone());
    let action = Action::resource("request-serviceaccounts-token-audience", target);
    match authorizer.authorize(a.user, &action).await {
        Decision::Allow => Ok(()),
        _ => Err(forbidden(a, format!("{} is not authorized to request tokens for audience {audience:?}", a.user.name))),
    }
}

/// Whether a volume of the pod wants tokens for the audience, by itself or by its CSI driver.
fn named(a: &Attributes<'_>, pod: &Value, audience: &str) -> bool {
    let (namespace, name) = (a.target.namespace.as_str(), value::text(pod, "metadata.name"));
    value::list(pod, "spec.volumes").iter().any(|v| {
        let projected = value::list(v, "projected.sources").iter().filter_map(|s| value::at(s, "serviceAccountToken"));
        if projected.into_iter().any(|t| value::text(t, "audience") == audience) {
            return true;
        }
        let claim = match (value::at(v, "persistentVolumeClaim"), value::at(v, "ephemeral")) {
            (Some(c), _) => Some(value::text(c, "claimName").to_owned()),
            (_, Some(_)) => Some(format!("{name}-{}", value::text(v, "name"))),
            _ => None,
        };
        let driver = match claim {
            Some(claim) => driver_of(a, namespace, &claim),
            None => value::at(v, "csi.driver").and_then(Value::as_str).map(str::to_owned),
        };
        let driver = driver.and_then(|d| stored(a, "csidrivers.storage.k8s.io", "", &d));
        driver.is_some_and(|d| value::list(&d, "spec.tokenRequests").iter().any(|t| value::text(t, "audience") == audience))
    })
}

fn driver_of(a: &Attributes<'_>, namespace: &str, claim: &str) -> Option<String> {
    let claim = stored(a, "persistentvolumeclaims", namespace, claim)?;
    let volume = stored(a, "persistentvolumes", "", value::text(&claim, "spec.volumeName"))?;
    Some(value::at(&volume, "spec.csi.driver")?.as_str()?.to_owned())
}
