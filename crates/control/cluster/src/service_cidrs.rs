//! ServiceCIDRs: ready once they are protected, and kept as long as an address of a Service needs them (KEP-1880).
//! The API server hands out addresses of those that are ready; it makes the default one.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use skiff_client::PatchBody;
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{ChangeKind, Typed};
use skiff_json::json;
use skiff_meta::LabelSelector;
use std::{net::IpAddr, sync::Arc, time::Duration};

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGER: &str = "service-cidr-controller";
/// How long a ServiceCIDR stays after nobody needs it, in seconds: allocations that began before are seen by then.
const GRACE: i64 = 10;

struct Cidrs {
    deps: Deps,
    cidrs: Typed<ServiceCIDR>,
    addresses: Typed<IPAddress>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (cidrs, addresses) = (deps.informers.of::<ServiceCIDR>(), deps.informers.of::<IPAddress>());
    let queue = Queue::new();
    let (q, all) = (queue.clone(), cidrs.clone());
    let wake = move |q: &Queue| all.rows("", &LabelSelector::everything()).iter().for_each(|r| q.add(r.key.clone()));
    let others = wake.clone();
    cidrs.subscribe(move |c| {
        q.add(c.key());
        // A larger one that came or went decides about those in it.
        others(&q);
    });
    let q = queue.clone();
    addresses.subscribe(move |c| {
        if c.kind == ChangeKind::Deleted {
            wake(&q);
        }
    });
    (queue, Arc::new(Cidrs { deps, cidrs, addresses }))
}

fn networks(c: &ServiceCIDR) -> Vec<IpNet> {
    c.spec.iter().flat_map(|s| s.cidrs.iter().flatten()).filter_map(|n| n.parse().ok()).collect()
}

/// Whether an address would be in no ServiceCIDR once this one is gone.
fn needed(name: &str, own: &[IpNet], others: &[(String, Vec<IpNet>)], addresses: &[IpAddr]) -> bool {
    let others = || others.iter().filter(|(n, _)| n != name).flat_map(|(_, nets)| nets);
    if own.iter().all(|n| others().any(|o| o.contains(n))) {
        return false;
    }
    let orphan = |a: &&IpAddr| own.iter().any(|n| n.contains(*a)) && !others().any(|o| o.contains(*a));
    addresses.iter().any(|a| orphan(&a))
}

#[async_trait]
impl Reconcile for Cidrs {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(cidr) = self.cidrs.get("", name) else { return Ok(Action::Done) };
        let protected = cidr.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER);
        let Some(leaving) = cidr.metadata.deletion_timestamp.as_ref() else {
            if !protected {
                let patch = PatchBody::strategic(&json!({"metadata": {"finalizers": [FINALIZER]}}));
                self.deps.client.patch::<ServiceCIDR>("", name, patch).await.at("protect ServiceCIDR", name)?;
            }
            let said = self.say(&cidr, "True", "", "Kubernetes Service CIDR is ready").await;
            if said.is_err() {
                self.deps.recorder.warning(&Regarding::of(&cidr), "KubernetesServiceCIDRError", "The ServiceCIDR Status can not be set to Ready=True");
            }
            return said.map(|()| Action::Done);
        };
        if !protected {
            return Ok(Action::Done);
        }
        if self.is_needed(name, &cidr) {
            let why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
            return self.say(&cidr, "False", "Terminating", why).await.map(|()| Action::Done);
        }
        let left = GRACE - (self.deps.clock.now().0 / 1_000_000 - leaving.0.as_second());
        if left > 0 {
            return Ok(Action::RequeueAfter(Duration::from_secs(left as u64)));
        }
        let patch = PatchBody::strategic(&json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}}));
        self.deps.client.patch::<ServiceCIDR>("", name, patch).await.at("release ServiceCIDR", name)?;
        Ok(Action::Done)
    }
}

impl Cidrs {
    fn is_needed(&self, name: &str, cidr: &ServiceCIDR) -> bool {
        let ours = LabelSelector::parse("ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io").unwrap_or_else(|_| LabelSelector::everything());
        let addresses: Vec<IpAddr> = self.addresses.rows("", &ours).iter().filter_map(|r| r.name().parse().ok()).collect();
        let all: Vec<(String, Vec<IpNet>)> = self.cidrs.all().iter().map(|c| (c.metadata.name.clone().unwrap_or_default(), networks(c))).collect();
        needed(name, &networks(cidr), &all, &addresses)
    }
    async fn say(&self, cidr: &ServiceCIDR, status: &str, reason: &str, message: &str) -> Result<(), Failed> {
        let name = cidr.metadata.name.as_deref().unwrap_or_default();
        let ready = cidr.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == "Ready");
        if ready.is_some_and(|c| c.status == status && c.reason == reason && c.message == message) {
            return Ok(());
        }
        let condition =
            json!({"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": self.deps.clock.seconds().to_string()});
        let body = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name}, "status": {"conditions": [condition]}});
        self.deps.client.patch_status::<ServiceCIDR>("", name, PatchBody::apply(&body, MANAGER)).await.at("tell of ServiceCIDR", name)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_while_an_address_needs_it() {
        let nets = |all: &[&str]| all.iter().map(|n| n.parse().unwrap()).collect::<Vec<IpNet>>();
        let cluster = |more: &[(&str, &str)]| {
            let mut all = vec![("own".to_owned(), nets(&["10.0.0.0/24"]))];
            all.extend(more.iter().map(|(n, c)| ((*n).to_owned(), nets(&[c]))));
            all
        };
        let own = nets(&["10.0.0.0/24"]);
        let inside = ["10.0.0.5".parse().unwrap()];
        assert!(needed("own", &own, &cluster(&[]), &inside));
        assert!(!needed("own", &own, &cluster(&[]), &["10.0.1.5".parse().unwrap()]));
        assert!(!needed("own", &own, &cluster(&[("same", "10.0.0.0/24")]), &inside));
        assert!(!needed("own", &own, &cluster(&[("part", "10.0.0.0/29")]), &inside));
        assert!(needed("own", &own, &cluster(&[("part", "10.0.0.8/29")]), &inside));
    }
}
