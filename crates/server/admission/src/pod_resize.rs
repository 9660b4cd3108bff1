//! PodResizeValidator: a running pod is not resized beyond what its node can ever give (KEP-1287).
use crate::{
    request::{Operation, about, forbidden, operation, stored},
    resources::{self, Side},
    value,
};
use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::{Cause, Quantity, Status};
use skiff_policy::{Admission, Attributes};

pub struct PodResizeValidator;

#[async_trait]
impl Admission for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if operation(a) != Operation::Update || a.target.subresource != "resize" || !about(a, "", "pods") {
            return Ok(());
        }
        let (Some(old), Some(pod)) = (a.old, a.object.as_deref()) else { return Ok(()) };
        let name = value::text(pod, "spec.nodeName");
        // The generation counts changes of the spec: the same one is no resize.
        if name.is_empty() || old.get("spec") == pod.get("spec") {
            return Ok(());
        }
        let node = stored(a, "nodes", "", name).ok_or_else(|| forbidden(a, format!("node {name:?} not found")))?;
        check(pod, &node).map_err(|(why, reason)| {
            let mut status = forbidden(a, why);
            status.details.get_or_insert_default().causes.push(Cause { reason: reason.into(), message: String::new(), field: String::new() });
            status
        })
    }
}

/// Err is why not, and the reason that the cause bears.
fn check(pod: &Value, node: &Value) -> Result<(), (String, &'static str)> {
    match value::map(node, "metadata.labels").and_then(|l| l.get("kubernetes.io/os")).and_then(Value::as_str) {
        None | Some("linux") => {}
        Some(os) => {
            return Err((
                format!("pod resize is only supported on linux nodes, node {:?} is {os:?}", value::text(node, "metadata.name")),
                "UnsupportedPlatform",
            ));
        }
    }
    let mut requests = resources::of_pod(pod, Side::Requests);
    resources::add(&mut requests, &resources::at(pod, "spec.overhead"));
    let allocatable = resources::at(node, "status.allocatable");
    let none = Quantity::units(0);
    let of = |r: &resources::Resources, k: &str| r.get(k).copied().unwrap_or(none);
    let mut short = Vec::new();
    let (cpu, has) = (of(&requests, "cpu"), of(&allocatable, "cpu"));
    if cpu > has {
        short.push(format!("cpu, requested: {}, allocatable: {}", cpu.milli_value(), has.milli_value()));
    }
    let (memory, has) = (of(&requests, "memory"), of(&allocatable, "memory"));
    if memory > has {
        short.push(format!("memory, requested: {}, allocatable: {}", memory.value(), has.value()));
    }
    if short.is_empty() { Ok(()) } else { Err((format!("node didn't have enough allocatable resources: {}", short.join("; ")), "NodeCapacity")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn a_pod_fits_the_whole_node_or_is_refused() {
        let pod = |cpu: &str, memory: &str| json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}], "overhead": {"cpu": "100m"}}});
        let node = |os: &str| json!({"metadata": {"name": "n", "labels": {"kubernetes.io/os": os}}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
        assert_eq!(check(&pod("1900m", "1Gi"), &node("linux")), Ok(()));
        let why =
            "node didn't have enough allocatable resources: cpu, requested: 2100, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824";
        assert_eq!(check(&pod("2", "2Gi"), &node("linux")), Err((why.into(), "NodeCapacity")));
        assert_eq!(check(&pod("1", "1"), &node("windows")).unwrap_err().1, "UnsupportedPlatform");
    }
}
