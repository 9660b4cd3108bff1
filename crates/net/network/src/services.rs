//! The kernel's rules in step with Services and their endpoints.

use crate::chain;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use skiff_informer::{Change, ChangeKind, Informers};
use skiff_kubelet::NetworkHealth;
use skiff_podnet::LocalPorts;
use skiff_rules::{NodeFacts, ServiceProxy, Snapshot, local_node_ports};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Changes within this time are applied together.
const GATHER: Duration = Duration::from_millis(10);
/// Between two tries of what could not be started.
const AGAIN: Duration = Duration::from_secs(5);
/// How often the kernel's rules are compared with ours.
const VERIFY: Duration = Duration::from_secs(60);
/// Reason of the node's NetworkUnavailable condition.
const FAILED: &str = "ServiceRulesNotApplied";

#[derive(Default)]
struct Inputs {
    services: BTreeMap<String, Arc<skiff_rules::Service>>,
    slices: BTreeMap<String, Arc<skiff_rules::Slice>>,
}

/// Keeps the kernel's rules in step with Services and their endpoints.
pub(crate) async fn follow(facts: NodeFacts, informers: Informers, health: NetworkHealth) {
    let (inputs, wake) = (Arc::new(Mutex::new(Inputs::default())), Arc::new(Notify::new()));
    let (i, w) = (inputs.clone(), wake.clone());
    informers.of::<Service>().subscribe(move |c| {
        keep(&mut i.lock().services, c, skiff_rules::Service::from_json);
        w.notify_one();
    });
    let (i, w) = (inputs.clone(), wake.clone());
    informers.of::<EndpointSlice>().subscribe(move |c| {
        keep(&mut i.lock().slices, c, skiff_rules::Slice::from_json);
        w.notify_one();
    });
    informers.synced().await;
    let proxy = loop {
        let facts = facts.clone();
        match tokio::task::spawn_blocking(move || ServiceProxy::new(facts)).await {
            Ok(Ok(p)) => break Arc::new(Mutex::new(p)),
            Ok(Err(e)) => unserved(&health, &e),
            Err(e) => unserved(&health, &e),
        }
        tokio::time::sleep(AGAIN).await;
    };
    let mut local_ports = LocalPorts::default();
    let mut verify = tokio::time::interval(VERIFY);
    loop {
        let woken = tokio::select! {
            () = wake.notified() => true,
            _ = verify.tick() => false,
        };
        if woken {
            tokio::time::sleep(GATHER).await;
        }
        let snapshot = {
            let i = inputs.lock();
            Snapshot { services: i.services.values().cloned().collect(), slices: i.slices.values().cloned().collect() }
        };
        let wanted = local_node_ports(snapshot.services.iter().map(Arc::as_ref));
        for (port, error) in local_ports.set(&wanted).await {
            tracing::debug!(target: "net", port, %error, "node port not served on 127.0.0.1");
        }
        let proxy = proxy.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut proxy = proxy.lock();
            let verified = if woken { Ok(()) } else { proxy.verify().map(drop) };
            verified.and_then(|()| proxy.sync(&snapshot).map(drop))
        });
        match done.await {
            Ok(Ok(())) => health.report(FAILED, Ok(())),
            Ok(Err(e)) => {
                tracing::warn!(target: "net", error = %chain(&e), "rules of Services not applied, trying again");
                health.report(FAILED, Err(format!("the rules of Services are not applied: {}", chain(&e))));
                let wake = wake.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    wake.notify_one();
                });
            }
            Err(e) => unserved(&health, &e),
        }
    }
}

fn unserved(health: &NetworkHealth, e: &dyn std::error::Error) {
    tracing::error!(target: "net", error = %chain(e), "Services are not served, trying again");
    health.report(FAILED, Err(format!("Services are not served: {}", chain(e))));
}

fn keep<T, E: std::fmt::Display>(map: &mut BTreeMap<String, Arc<T>>, c: &Change, read: impl Fn(&[u8]) -> Result<Option<T>, E>) {
    let read = if c.kind == ChangeKind::Deleted { Ok(None) } else { read(&c.row().bytes) };
    match read {
        Ok(Some(v)) => drop(map.insert(c.key().to_owned(), Arc::new(v))),
        Ok(None) => drop(map.remove(c.key())),
        Err(e) => tracing::warn!(target: "net", object = c.key(), error = %e, "left out of the rules"),
    }
}
