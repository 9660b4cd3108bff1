//! Making and deleting pods, and saying so.
use crate::{
    shell::{Deps, resource},
    view::{Meta, OwnerRef},
};
use futures::future::join_all;
use skiff_client::{DeleteOptions, Target};
use skiff_controller::{At, Expectations, Failed, Regarding};
use skiff_json::{Value, json};
use skiff_meta::{Head, Reason};
use std::future::Future;

/// Pods of one owner.
pub(crate) struct PodControl<'a> {
    pub deps: &'a Deps,
    pub expect: &'a Expectations,
    pub owner: &'a Meta,
    pub reference: &'a OwnerRef,
    pub about: &'a Regarding,
}

impl PodControl<'_> {
    /// A pod of a template (`metadata` and `spec`), before names, hosts and labels are added.
    pub(crate) fn pod(&self, template: &Value) -> Value {
        let mut meta = json!({"ownerReferences": [self.reference], "generateName": format!("{}-", self.owner.name)});
        for field in ["labels", "annotations", "finalizers"] {
            if let Some(v) = template["metadata"].get(field) {
                meta[field] = v.clone();
            }
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})
    }
    /// The events are upstream's; none when the namespace is on its way out.
    pub(crate) async fn create(&self, pod: &Value) -> Result<(), Failed> {
        let target = Target::new(resource::core("pods"), self.owner.namespace.as_str(), "");
        match self.deps.client.create_bytes(target, pod.to_string()).await {
            Ok(bytes) => {
                let head = Head::of(&bytes).unwrap_or_default();
                self.expect.wrote(&self.owner.key(), &head.resource_version);
                self.deps.recorder.normal(self.about, "SuccessfulCreate", format!("Created pod: {}", head.name));
                Ok(())
            }
            Err(source) => {
                if !namespace_ends(&source) {
                    self.deps.recorder.warning(self.about, "FailedCreate", format!("Error creating: {source}"));
                }
                Err(source).at("create a pod of", self.owner.key())
            }
        }
    }
    /// What is gone already is no failure.
    pub(crate) async fn delete(&self, pod: &Meta) -> Result<(), Failed> {
        let target = Target::new(resource::core("pods"), pod.namespace.as_str(), pod.name.as_str());
        match self.deps.client.delete_target(target, &DeleteOptions::default().uid(&pod.uid)).await {
            Ok(_) => {
                self.expect.deleted(&self.owner.key(), &pod.key(), &pod.uid.as_str().into());
                self.deps.recorder.normal(self.about, "SuccessfulDelete", format!("Deleted pod: {}", pod.name));
                Ok(())
            }
            Err(e) if e.is(Reason::NotFound) => Ok(()),
            Err(source) => {
                self.deps.recorder.warning(self.about, "FailedDelete", format!("Error deleting: {source}"));
                Err(source).at("delete pod", pod.key())
            }
        }
    }
    pub(crate) async fn delete_all(&self, pods: impl IntoIterator<Item = &Meta>) -> Result<(), Failed> {
        join_all(pods.into_iter().map(|p| self.delete(p))).await.into_iter().collect()
    }
}

/// A creation refused because the namespace is being deleted.
pub(crate) fn namespace_ends(e: &skiff_meta::Status) -> bool {
    e.details.as_ref().is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating"))
}

/// Runs `make` for each item, one at first and twice as many at a time after each batch that went well: when all would
/// fail alike, few are tried.
pub(crate) async fn slow_start<T, F: Future<Output = Result<(), Failed>>>(items: Vec<T>, make: impl Fn(T) -> F) -> Result<(), Failed> {
    let mut items = items.into_iter();
    let mut size = 1;
    loop {
        let batch: Vec<F> = items.by_ref().take(size).map(&make).collect();
        if batch.is_empty() {
            return Ok(());
        }
        join_all(batch).await.into_iter().collect::<Result<(), Failed>>()?;
        size *= 2;
    }
}
