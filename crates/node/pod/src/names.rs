//! Names, labels and paths by which the node finds its pods' parts again after a restart.
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::view;

pub const POD_NAME: &str = "io.kubernetes.pod.name";
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub const POD_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
/// `file` or `api`.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";

/// What makes a running container another one: its name and its image, as upstream. FNV-1a of 32 bits, in hex.
pub fn container_hash(c: &Container) -> String {
    let text = skiff_json::json!({"name": c.name, "image": c.image}).to_string();
    let hash = text.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    format!("{hash:x}")
}

/// `<namespace>_<name>_<uid>` below the node's folder of pod logs.
pub fn log_directory(root: &std::path::Path, pod: &Pod) -> PathBuf {
    root.join(format!("{}_{}_{}", view::namespace(pod), view::name(pod), view::uid(pod)))
}
/// `<container>/<attempt>.log`
pub fn log_path(container: &str, attempt: u32) -> PathBuf {
    PathBuf::from(format!("{container}/{attempt}.log"))
}

pub fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.insert(POD_NAME.into(), view::name(pod).into());
    labels.insert(POD_NAMESPACE.into(), view::namespace(pod).into());
    labels.insert(POD_UID.into(), view::uid(pod).into());
    labels
}

pub fn container_labels(pod: &Pod, container: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (POD_NAME.to_owned(), view::name(pod).to_owned()),
        (POD_NAMESPACE.to_owned(), view::namespace(pod).to_owned()),
        (POD_UID.to_owned(), view::uid(pod).to_owned()),
        (CONTAINER_NAME.to_owned(), container.to_owned()),
    ])
}

pub fn container_annotations(pod: &Pod, c: &Container, attempt: u32) -> BTreeMap<String, String> {
    let mut a = BTreeMap::from([
        (CONTAINER_HASH.to_owned(), container_hash(c)),
        (RESTART_COUNT.to_owned(), attempt.to_string()),
        (MESSAGE_PATH.to_owned(), c.termination_message_path.clone().unwrap_or_else(|| "/dev/termination-log".into())),
        (MESSAGE_POLICY.to_owned(), c.termination_message_policy.clone().unwrap_or_else(|| "File".into())),
    ]);
    if let Some(grace) = view::spec(pod).termination_grace_period_seconds {
        a.insert(POD_GRACE.into(), grace.to_string());
    }
    a
}
