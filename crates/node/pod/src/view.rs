//! Reading a pod's object: what optional fields mean, which containers it has and in which role.
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use skiff_meta::Quantity;
use std::collections::BTreeMap;

/// Quantities by resource name.
pub type ResourceList = BTreeMap<String, ApiQuantity>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one.
    Init,
    /// An init container that stays (`restartPolicy: Always`).
    Sidecar,
    Regular,
    Ephemeral,
}

pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}
pub fn deleted(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}
/// `name_namespace(uid)`, as messages have it.
pub fn full_name(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}
pub fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}
/// A pod that came from a file on the node, not from the API.
pub fn is_static(pod: &Pod) -> bool {
    annotation(pod, crate::names::CONFIG_SOURCE).is_some_and(|s| s != "api")
}
pub fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, crate::names::CONFIG_MIRROR).is_some()
}
pub fn is_sidecar(c: &Container) -> bool {
    c.restart_policy.as_deref() == Some("Always")
}
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network == Some(true)
}
pub fn init_containers(pod: &Pod) -> &[Container] {
    spec(pod).init_containers.as_deref().unwrap_or_default()
}
pub fn containers(pod: &Pod) -> &[Container] {
    &spec(pod).containers
}
pub fn ephemeral_containers(pod: &Pod) -> &[EphemeralContainer] {
    spec(pod).ephemeral_containers.as_deref().unwrap_or_default()
}
/// The phase is Succeeded or Failed, in the API's own view.
pub fn finished(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}
pub fn grace_seconds(pod: &Pod) -> i64 {
    pod.metadata.deletion_grace_period_seconds.or(spec(pod).termination_grace_period_seconds).unwrap_or(30)
}

/// An ephemeral container as an ordinary one; it has no probes, ports or resources.
pub fn as_container(e: &EphemeralContainer) -> Container {
    Container {
        args: e.args.clone(),
        command: e.command.clone(),
        env: e.env.clone(),
        env_from: e.env_from.clone(),
        image: e.image.clone(),
        image_pull_policy: e.image_pull_policy.clone(),
        name: e.name.clone(),
        security_context: e.security_context.clone(),
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path.clone(),
        termination_message_policy: e.termination_message_policy.clone(),
        tty: e.tty,
        volume_devices: e.volume_devices.clone(),
        volume_mounts: e.volume_mounts.clone(),
        working_dir: e.working_dir.clone(),
        ..Default::default()
    }
}

/// The container of that name with its role; ephemeral ones as ordinary containers.
pub fn find_container(pod: &Pod, name: &str) -> Option<(Role, Container)> {
    if let Some(c) = containers(pod).iter().find(|c| c.name == name) {
        return Some((Role::Regular, c.clone()));
    }
    if let Some(c) = init_containers(pod).iter().find(|c| c.name == name) {
        return Some((if is_sidecar(c) { Role::Sidecar } else { Role::Init }, c.clone()));
    }
    ephemeral_containers(pod).iter().find(|e| e.name == name).map(|e| (Role::Ephemeral, as_container(e)))
}

/// None when absent or no quantity.
pub fn quantity(list: Option<&ResourceList>, resource: &str) -> Option<Quantity> {
    list?.get(resource)?.0.parse().ok()
}
pub fn request(c: &Container, resource: &str) -> Option<Quantity> {
    quantity(c.resources.as_ref()?.requests.as_ref(), resource)
}
pub fn limit(c: &Container, resource: &str) -> Option<Quantity> {
    quantity(c.resources.as_ref()?.limits.as_ref(), resource)
}
