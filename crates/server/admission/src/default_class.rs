//! DefaultStorageClass and DefaultIngressClass: who names no class gets the newest that is marked as default.
use crate::{
    request::{all, creates},
    value,
};
use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};

pub struct DefaultStorageClass;
pub struct DefaultIngressClass;

pub(crate) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

#[async_trait]
impl Admission for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if creates(a, "", "persistentvolumeclaims") {
            let marks = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
            fill(a, "spec.storageClassName", CLASS_ANNOTATION, "storageclasses.storage.k8s.io", &marks);
        }
        Ok(())
    }
}

#[async_trait]
impl Admission for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if creates(a, "networking.k8s.io", "ingresses") {
            let marks = ["ingressclass.kubernetes.io/is-default-class"];
            fill(a, "spec.ingressClassName", "kubernetes.io/ingress.class", "ingressclasses.networking.k8s.io", &marks);
        }
        Ok(())
    }
}

pub(crate) fn annotation<'a>(v: &'a Value, key: &str) -> Option<&'a str> {
    value::map(v, "metadata.annotations")?.get(key)?.as_str()
}

fn fill(a: &mut Attributes<'_>, path: &str, by_annotation: &str, resource: &str, marks: &[&str]) {
    let Some(v) = a.object.as_deref() else { return };
    if value::at(v, path).is_some() || annotation(v, by_annotation).is_some() {
        return;
    }
    let classes = all(a, resource, "");
    if let (Some(name), Some(v)) = (newest(&classes, marks), a.object.as_deref_mut()) {
        value::set(v, path, name);
    }
}

/// Newest first, then by name.
fn newest<'a>(classes: &'a [Value], marks: &[&str]) -> Option<&'a str> {
    let marked = classes.iter().filter(|c| marks.iter().any(|m| annotation(c, m) == Some("true")));
    marked.map(|c| (std::cmp::Reverse(value::text(c, "metadata.creationTimestamp")), value::text(c, "metadata.name"))).min().map(|(_, name)| name)
}
