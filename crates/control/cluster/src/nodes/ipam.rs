//! A part of the pod network for each node (`spec.podCIDRs`).
use crate::run::{Deps, Started};
use async_trait::async_trait;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use skiff_client::PatchBody;
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::Typed;
use skiff_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

struct Ipam {
    deps: Deps,
    nodes: Typed<Node>,
    /// What each node was given in this process. Held during an allocation: one at a time.
    given: tokio::sync::Mutex<BTreeMap<String, Vec<IpNet>>>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let nodes = deps.informers.of::<Node>();
    let queue = Queue::new();
    let q = queue.clone();
    nodes.subscribe(move |c| {
        if c.old.is_none() || c.new.is_none() {
            q.add(c.key());
        }
    });
    (queue, Arc::new(Ipam { deps, nodes, given: tokio::sync::Mutex::default() }))
}

/// The first part of `cluster` with this prefix that overlaps none of `taken`.
fn free_part(cluster: &IpNet, prefix: u8, taken: &BTreeSet<IpNet>) -> Option<IpNet> {
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    cluster.subnets(prefix.max(cluster.prefix_len())).ok()?.find(|part| !taken.iter().any(|t| overlaps(t, part)))
}

#[async_trait]
impl Reconcile for Ipam {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        // What was given out in this process counts as taken even before the informer shows it.
        let mut given = self.given.lock().await;
        let Some(node) = self.nodes.get("", name) else {
            given.remove(name);
            return Ok(Action::Done);
        };
        if node.spec.as_ref().is_some_and(|s| s.pod_cidr.as_deref().is_some_and(|c| !c.is_empty())) {
            return Ok(Action::Done);
        }
        let listed = self.nodes.all();
        let mut taken: BTreeSet<IpNet> =
            listed.iter().flat_map(|n| n.spec.iter().flat_map(|s| s.pod_cidrs.iter().flatten())).filter_map(|c| c.parse().ok()).collect();
        taken.extend(given.values().flatten());
        let settings = &self.deps.settings;
        let part = |c: &IpNet| free_part(c, if c.addr().is_ipv4() { settings.node_prefix.0 } else { settings.node_prefix.1 }, &taken);
        let parts: Vec<IpNet> = settings.cluster_cidrs.iter().filter_map(part).collect();
        if parts.len() < settings.cluster_cidrs.len() {
            self.deps.recorder.warning(&Regarding::of(&node), "CIDRNotAvailable", format!("Node {name} status is now: CIDRNotAvailable"));
            return Ok(Action::RequeueAfter(std::time::Duration::from_secs(30)));
        }
        let texts: Vec<String> = parts.iter().map(ToString::to_string).collect();
        let Some(first) = texts.first() else { return Ok(Action::Done) };
        let patch = PatchBody::merge(&json!({"spec": {"podCIDR": first, "podCIDRs": texts}}));
        self.deps.client.patch::<Node>("", name, patch).await.at("give a pod CIDR to node", name)?;
        given.insert(name.to_owned(), parts);
        Ok(Action::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn parts_do_not_overlap() {
        let cluster: IpNet = "10.42.0.0/16".parse().unwrap();
        let mut taken = BTreeSet::new();
        for want in ["10.42.0.0/24", "10.42.1.0/24"] {
            let part = free_part(&cluster, 24, &taken).unwrap();
            assert_eq!(part.to_string(), want);
            taken.insert(part);
        }
        assert!(free_part(&"10.0.0.0/24".parse().unwrap(), 24, &BTreeSet::from(["10.0.0.0/8".parse().unwrap()])).is_none());
    }
}
