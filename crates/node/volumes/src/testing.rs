//! Pods for tests.
use k8s_openapi::api::core::v1::Pod;
use skiff_meta::Quantity;
use skiff_pod::field::NodeFacts;

pub fn pod(spec: &str) -> Pod {
    let text = format!(r#"{{"metadata":{{"name":"p","namespace":"ns","uid":"u1","labels":{{"a":"b"}}}},"spec":{spec}}}"#);
    skiff_json::from_str(&text).unwrap()
}

pub fn facts() -> NodeFacts<'static> {
    NodeFacts { pod_ips: &[], node_ips: &[], allocatable_cpu: Quantity::units(2), allocatable_memory: Quantity::bytes(1 << 30) }
}
