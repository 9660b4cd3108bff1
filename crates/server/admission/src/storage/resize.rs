//! PersistentVolumeClaimResize: a bound claim grows if its class allows it.
use crate::{
    default_class::{CLASS_ANNOTATION, annotation},
    request::{forbidden, stored, updates},
    value,
};
use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::{Quantity, Status};
use skiff_policy::{Admission, Attributes};

pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Admission for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !updates(a, "", "persistentvolumeclaims") {
            return Ok(());
        }
        let (Some(old), Some(claim)) = (a.old, a.object.as_deref()) else { return Ok(()) };
        if size(claim) <= size(old) {
            return Ok(());
        }
        if value::text(old, "status.phase") != "Bound" {
            return Err(forbidden(a, "Only bound persistent volume claims can be expanded"));
        }
        let class = class(claim);
        let allows = !class.is_empty()
            && class == self::class(old)
            && stored(a, "storageclasses.storage.k8s.io", "", class).is_some_and(|c| value::flag(&c, "allowVolumeExpansion"));
        if allows {
            return Ok(());
        }
        Err(forbidden(a, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"))
    }
}

fn size(claim: &Value) -> Quantity {
    value::text(claim, "spec.resources.requests.storage").parse().unwrap_or_default()
}
fn class(claim: &Value) -> &str {
    annotation(claim, CLASS_ANNOTATION).unwrap_or_else(|| value::text(claim, "spec.storageClassName"))
}
