//! StorageObjectInUseProtection: volumes and claims get the finalizer that holds them while they are in use.
use crate::{request::creates, value};
use async_trait::async_trait;
use skiff_json::json;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};

const FINALIZERS: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

pub struct StorageObjectInUseProtection;

#[async_trait]
impl Admission for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some((_, _, finalizer)) = FINALIZERS.iter().find(|(group, resource, _)| creates(a, group, resource)) else { return Ok(()) };
        let Some(v) = a.object.as_deref_mut() else { return Ok(()) };
        if let Some(all) = value::list_mut(v, "metadata.finalizers").filter(|all| !all.iter().any(|f| f == finalizer)) {
            all.push(json!(finalizer));
        }
        Ok(())
    }
}
