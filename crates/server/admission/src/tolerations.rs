//! DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or unreachable.
use crate::{
    request::{Operation, about, operation},
    value,
};
use async_trait::async_trait;
use skiff_json::{Value, json};
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};

pub struct DefaultTolerationSeconds {
    pub not_ready: i64,
    pub unreachable: i64,
}

impl Default for DefaultTolerationSeconds {
    fn default() -> Self {
        Self { not_ready: 300, unreachable: 300 }
    }
}

#[async_trait]
impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !about(a, "", "pods") || !a.target.subresource.is_empty() || operation(a) == Operation::Delete {
            return Ok(());
        }
        let Some(pod) = a.object.as_deref_mut() else { return Ok(()) };
        for (taint, seconds) in [("node.kubernetes.io/not-ready", self.not_ready), ("node.kubernetes.io/unreachable", self.unreachable)] {
            if !value::list(pod, "spec.tolerations").iter().any(|t| tolerates(t, taint))
                && let Some(all) = value::list_mut(pod, "spec.tolerations")
            {
                all.push(json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}));
            }
        }
        Ok(())
    }
}

fn tolerates(t: &Value, taint: &str) -> bool {
    let (key, effect) = (value::text(t, "key"), value::text(t, "effect"));
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
}
