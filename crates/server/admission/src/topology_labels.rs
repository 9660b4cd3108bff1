//! PodTopologyLabels: a pod carries the zone and the region of its node (KEP-4742).
//!
//! The registry shows a binding as the pod with its node set, so both ways of assignment look the same here.
use crate::{
    request::{Operation, about, operation, stored_labels},
    value,
};
use async_trait::async_trait;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};

const LABELS: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

pub struct PodTopologyLabels;

#[async_trait]
impl Admission for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let assigns = matches!(a.target.subresource.as_str(), "" | "binding") && operation(a) == Operation::Create && about(a, "", "pods");
        let Some(pod) = a.object.as_deref().filter(|_| assigns) else { return Ok(()) };
        let name = match value::text(pod, "spec.nodeName") {
            "" if value::text(pod, "target.kind") == "Node" => value::text(pod, "target.name"),
            name => name,
        };
        if name.is_empty() {
            return Ok(());
        }
        let Some(node) = stored_labels(a, "nodes", "", name) else { return Ok(()) };
        let labels = value::map(&node, "metadata.labels");
        for key in LABELS {
            if let (Some(x), Some(pod)) = (labels.and_then(|l| l.get(key)), a.object.as_deref_mut())
                && let Some(into) = value::map_mut(pod, "metadata.labels")
            {
                into.insert(key.to_owned(), x.clone());
            }
        }
        Ok(())
    }
}
