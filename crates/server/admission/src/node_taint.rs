//! TaintNodesByCondition: a new node is not ready until the node controller has seen that it is.
use crate::{request::creates, value};
use async_trait::async_trait;
use skiff_json::json;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub struct TaintNodesByCondition;

#[async_trait]
impl Admission for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !creates(a, "", "nodes") {
            return Ok(());
        }
        let Some(node) = a.object.as_deref_mut() else { return Ok(()) };
        let has = value::list(node, "spec.taints").iter().any(|t| value::text(t, "key") == NOT_READY && value::text(t, "effect") == "NoSchedule");
        if let Some(taints) = value::list_mut(node, "spec.taints").filter(|_| !has) {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
