//! Keeps the pod network in step with the list of nodes: this node's own part of it, and the ways to the others' parts.
use crate::chain;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use skiff_informer::{ChangeKind, Typed};
use skiff_kubelet::NetworkHealth;
use skiff_podnet::{NodeNet, PodNet, PodNetError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

const AGAIN: Duration = Duration::from_secs(1);
/// Reason of the node's NetworkUnavailable condition.
const NODES_FAILED: &str = "PodNetworkNotInStep";

/// Never ends. `up` becomes true when this node has its part of the pod network for the first time.
pub(crate) async fn follow(nodes: Typed<Node>, me: String, net: PodNet, up: watch::Sender<bool>, health: NetworkHealth) {
    let (seen, wake) = (Arc::new(Mutex::new(BTreeMap::<String, NodeNet>::new())), Arc::new(Notify::new()));
    let (s, w) = (seen.clone(), wake.clone());
    nodes.subscribe(move |c| {
        let row = c.row();
        let mut seen = s.lock();
        let changed = if c.kind == ChangeKind::Deleted {
            seen.remove(row.name()).is_some()
        } else {
            let Ok(node) = row.decode::<Node>() else { return };
            let net = net_of(row.name(), &node);
            seen.insert(row.name().to_owned(), net.clone()) != Some(net)
        };
        if changed {
            w.notify_one();
        }
    });
    // Before the list is whole, ways to nodes that are only not seen yet would be taken away.
    nodes.synced().await;
    let (mut done, mut mine) = (Vec::new(), Vec::new());
    loop {
        let now: Vec<NodeNet> = seen.lock().values().cloned().collect();
        let own = now.iter().find(|n| n.name == me).map(|n| n.pod_cidrs.clone()).unwrap_or_default();
        if !own.is_empty() && now != done {
            let (net, start, wanted) = (net.clone(), (own != mine).then(|| own.clone()), now.clone());
            let applied = tokio::task::spawn_blocking(move || -> Result<(), PodNetError> {
                start.map_or(Ok(()), |cidrs| net.start(cidrs))?;
                net.set_nodes(&wanted)
            });
            match applied.await {
                Ok(Ok(())) => {
                    (done, mine) = (now, own);
                    up.send_replace(true);
                    health.report(NODES_FAILED, Ok(()));
                }
                Ok(Err(e)) => {
                    tracing::warn!(target: "net", error = %chain(&e), "pod network not in step with the nodes, trying again");
                    health.report(NODES_FAILED, Err(format!("the pod network is not in step with the nodes: {}", chain(&e))));
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(e) => {
                    tracing::error!(target: "net", error = %e, "the pod network broke off, trying again");
                    health.report(NODES_FAILED, Err(format!("the pod network broke off: {e}")));
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
        }
        wake.notified().await;
    }
}

fn net_of(name: &str, node: &Node) -> NodeNet {
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_deref()).unwrap_or_default();
    let cidrs = node.spec.as_ref().and_then(|s| s.pod_cidrs.as_deref()).unwrap_or_default();
    NodeNet {
        name: name.to_owned(),
        ips: addresses.iter().filter(|a| a.type_ == "InternalIP").filter_map(|a| a.address.parse().ok()).collect(),
        pod_cidrs: cidrs.iter().filter_map(|c| c.parse().ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_object_says_of_its_network() {
        let node: Node =
            skiff_json::from_value(skiff_json::json!({"metadata": {"name": "a"}, "spec": {"podCIDR": "10.42.1.0/24", "podCIDRs": ["10.42.1.0/24", "no"]},
            "status": {"addresses": [{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "192.0.2.7"}]}}))
            .unwrap();
        let net = net_of("a", &node);
        assert_eq!((net.ips.len(), net.pod_cidrs.len()), (1, 1));
        assert_eq!(net_of("b", &Node::default()), NodeNet { name: "b".into(), ..NodeNet::default() });
    }
}
