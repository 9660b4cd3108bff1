//! Networking, discovery, coordination-like infrastructure: nodes' classes, devices, flow control.
use super::{Resource, build::*, fields};
use crate::{
    print,
    strategy::{self, NameRule, StatusMetadata, Strategy, generation::ON_SPEC},
};

const NET: &str = "networking.k8s.io";
const DRA: &str = "resource.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";

fn flow(s: &mut Strategy) {
    s.generation = Some(ON_SPEC);
    s.status_metadata = StatusMetadata::Kept;
}

pub fn rows() -> Vec<Resource> {
    vec![
        cluster(NET, "v1", "IngressClass", "ingressclasses").columns(print::ingress_class()).strategy(|s| s.generation = Some(ON_SPEC)),
        namespaced(NET, "v1", "Ingress", "ingresses").short(&["ing"]).status().columns(print::ingress()).strategy(|s| s.generation = Some(ON_SPEC)),
        cluster(NET, "v1", "IPAddress", "ipaddresses").short(&["ip"]).columns(print::ip_address()).strategy(|s| s.name = NameRule::Address),
        namespaced(NET, "v1", "NetworkPolicy", "networkpolicies")
            .short(&["netpol"])
            .columns(print::network_policy())
            .strategy(|s| s.generation = Some(ON_SPEC)),
        cluster(NET, "v1", "ServiceCIDR", "servicecidrs").status().columns(print::service_cidr()).strategy(|s| s.status_metadata = StatusMetadata::Kept),
        namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices").columns(print::endpoint_slice()).strategy(|s| {
            s.generation = Some(strategy::generation::ON_CONTENT);
            s.prepare_create = Some(strategy::service::prepare_endpoint_slice);
            s.prepare_update = Some(strategy::service::update_endpoint_slice);
        }),
        cluster("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses").columns(print::runtime_class()).strategy(|s| {
            s.create_on_update = true;
            s.unconditional_update = false;
        }),
        cluster(DRA, "v1", "DeviceClass", "deviceclasses").strategy(|s| {
            s.name = NameRule::DeclaredSubdomain;
            s.declared = &["spec.extendedResourceName"];
            s.answers_object = true;
            s.generation = Some(ON_SPEC);
        }),
        cluster(DRA, "v1", "DeviceTaintRule", "devicetaintrules").status().columns(print::device_taint_rule()).strategy(|s| {
            s.status_without_table = true;
            s.unconditional_update = false;
            s.status_metadata = StatusMetadata::Kept;
            s.generation = Some(ON_SPEC);
        }),
        namespaced(DRA, "v1", "ResourceClaim", "resourceclaims").status().columns(print::resource_claim()).strategy(|s| {
            s.status_without_table = true;
            s.answers_object = true;
            s.gated = strategy::gates::DEVICE_CLAIM;
            s.prepare_update = Some(strategy::gates::update_device_claim);
            s.status_metadata = StatusMetadata::Kept;
        }),
        namespaced(DRA, "v1", "ResourceClaimTemplate", "resourceclaimtemplates").strategy(|s| {
            s.answers_object = true;
            s.gated = strategy::gates::DEVICE_TEMPLATE;
        }),
        cluster(DRA, "v1", "ResourceSlice", "resourceslices").columns(print::resource_slice()).fields(fields::RESOURCE_SLICE).strategy(|s| {
            s.answers_object = true;
            s.generation = Some(ON_SPEC);
            s.gated = strategy::gates::SLICE;
            s.prepare_create = Some(strategy::gates::prepare_slice);
            s.prepare_update = Some(strategy::gates::update_slice);
        }),
        cluster(FLOW, "v1", "FlowSchema", "flowschemas").status().columns(print::flow_schema()).strategy(flow),
        cluster(FLOW, "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations").status().columns(print::priority_level()).strategy(flow),
    ]
}
