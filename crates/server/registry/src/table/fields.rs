//! Selectable fields: what field selectors may name, per resource. Facts of upstream's strategies.
use super::{Field, Read};
use crate::value::{int, list, text};
use skiff_json::Value;

fn flag(v: &Value, path: &str) -> String {
    crate::value::flag(v, path).to_string()
}
macro_rules! text_field {
    ($selector:literal) => {
        Field { path: $selector, read: Read::At($selector) }
    };
    ($selector:literal, $path:literal) => {
        Field { path: $selector, read: Read::At($path) }
    };
}
fn event_source(v: &Value) -> String {
    match text(v, "source.component") {
        "" => text(v, "reportingComponent").to_owned(),
        s => s.to_owned(),
    }
}

pub const POD: &[Field] = &[
    text_field!("spec.nodeName"),
    text_field!("spec.restartPolicy"),
    text_field!("spec.schedulerName"),
    text_field!("spec.serviceAccountName"),
    Field { path: "spec.hostNetwork", read: Read::With(|v| flag(v, "spec.hostNetwork")) },
    text_field!("status.phase"),
    Field { path: "status.podIP", read: Read::With(|v| list(v, "status.podIPs").first().map_or_else(String::new, |ip| text(ip, "ip").to_owned())) },
    text_field!("status.nominatedNodeName"),
];
pub const NODE: &[Field] = &[Field { path: "spec.unschedulable", read: Read::With(|v| flag(v, "spec.unschedulable")) }];
pub const NAMESPACE: &[Field] = &[text_field!("status.phase"), text_field!("name", "metadata.name")];
pub const SECRET: &[Field] = &[text_field!("type")];
pub const SERVICE: &[Field] = &[text_field!("spec.clusterIP"), text_field!("spec.type")];
pub const REPLICAS: &[Field] = &[Field { path: "status.replicas", read: Read::With(|v| int(v, "status.replicas").to_string()) }];
pub const JOB: &[Field] = &[Field { path: "status.successful", read: Read::With(|v| int(v, "status.succeeded").to_string()) }];
pub const SIGNER: &[Field] = &[text_field!("spec.signerName")];
pub const POD_CERTIFICATE: &[Field] = &[text_field!("spec.signerName"), text_field!("spec.podName"), text_field!("spec.nodeName")];
pub const RESOURCE_SLICE: &[Field] = &[text_field!("spec.nodeName"), text_field!("spec.driver"), text_field!("spec.pool.name")];
pub const EVENT: &[Field] = &[
    text_field!("involvedObject.kind"),
    text_field!("involvedObject.namespace"),
    text_field!("involvedObject.name"),
    text_field!("involvedObject.uid"),
    text_field!("involvedObject.apiVersion"),
    text_field!("involvedObject.resourceVersion"),
    text_field!("involvedObject.fieldPath"),
    text_field!("reason"),
    text_field!("reportingComponent"),
    Field { path: "source", read: Read::With(event_source) },
    text_field!("type"),
];
/// The same values under the names of events.k8s.io; the stored object is a core Event.
pub const EVENT_V1: &[Field] = &[
    text_field!("regarding.kind", "involvedObject.kind"),
    text_field!("regarding.namespace", "involvedObject.namespace"),
    text_field!("regarding.name", "involvedObject.name"),
    text_field!("regarding.uid", "involvedObject.uid"),
    text_field!("regarding.apiVersion", "involvedObject.apiVersion"),
    text_field!("regarding.resourceVersion", "involvedObject.resourceVersion"),
    text_field!("regarding.fieldPath", "involvedObject.fieldPath"),
    text_field!("reason"),
    text_field!("reportingController", "reportingComponent"),
    text_field!("type"),
];
