//! The label by which `kubectl get nodes` shows the server's own node as control plane. Nodes may not give it to themselves
//! (NodeRestriction), so the server does. No taint comes with it: as on k3s, pods run here.
use k8s_openapi::api::core::v1::Node;
use skiff_client::{Client, PatchBody};
use skiff_informer::{ChangeKind, Informers};
use skiff_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

const LABEL: &str = "node-role.kubernetes.io/control-plane";
const AGAIN: Duration = Duration::from_secs(5);

/// Never ends: whoever takes the label away gets it back.
pub async fn keep(client: Client, informers: Informers, node: String) {
    let (lacks, wake) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (l, w, name) = (lacks.clone(), wake.clone(), node.clone());
    informers.of::<Node>().subscribe(move |c| {
        if c.row().name() == name {
            l.store(c.kind != ChangeKind::Deleted && c.row().label(LABEL).is_none(), Ordering::Relaxed);
            w.notify_one();
        }
    });
    loop {
        wake.notified().await;
        while lacks.load(Ordering::Relaxed) {
            let body = PatchBody::merge(&json!({"metadata": {"labels": {LABEL: "true"}}}));
            match client.patch::<Node>("", &node, body).await {
                Ok(_) => break,
                Err(e) => tracing::warn!(target: "skiff", node, error = %e, "role of the node not set, trying again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
