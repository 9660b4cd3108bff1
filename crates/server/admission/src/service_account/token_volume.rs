//! The projected volume with the account's token, the cluster's certificate and the namespace.
use crate::value;
use skiff_json::{Value, json};

const BASE: &str = "kube-api-access-";
const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// An hour and seven seconds: the kubelet renews such tokens, and the server lets old clients keep them for longer.
const SECONDS: i64 = 3607;

/// Mounts the volume in every container that has nothing at its path.
pub(super) fn mount(pod: &mut Value, random: &dyn Fn() -> u32) {
    let there = value::list(pod, "spec.volumes").iter().map(|v| value::text(v, "name")).find(|n| n.starts_with(BASE)).map(str::to_owned);
    let name = there.clone().unwrap_or_else(|| skiff_meta::generate_name(BASE, random));
    let mut needed = false;
    for kind in ["initContainers", "containers"] {
        let containers = pod.get_mut("spec").and_then(|s| s.get_mut(kind)).and_then(Value::as_array_mut);
        for c in containers.into_iter().flatten() {
            let taken = value::list(c, "volumeMounts").iter().any(|m| value::text(m, "mountPath") == PATH);
            if let Some(mounts) = value::list_mut(c, "volumeMounts").filter(|_| !taken) {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": PATH}));
                needed = true;
            }
        }
    }
    if let Some(volumes) = value::list_mut(pod, "spec.volumes").filter(|_| needed && there.is_none()) {
        volumes.push(json!({"name": name, "projected": source()}));
    }
}

fn source() -> Value {
    json!({
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ],
        "defaultMode": 420,
    })
}
