//! The network of this node: pods' links, the rules of Services, DNS.
use crate::admin::Traces;
use crate::facts::Facts;
use crate::node::peers::{self, chain};
use crate::node::settings::NodeSettings;
use anyhow::Context;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use skiff_dns::{DnsService, DnsSlice, ServerConfig, Zone, upstreams_of};
use skiff_informer::{Change, ChangeKind, Informers};
use skiff_kubelet::NetworkHealth;
use skiff_podnet::{Config, LocalPorts, Overlay, PodNet};
use skiff_rules::{NodeFacts, ServiceProxy, Snapshot, local_node_ports};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Changes within this time are applied together.
const GATHER: Duration = Duration::from_millis(10);
/// Between two tries of what could not be started.
const AGAIN: Duration = Duration::from_secs(5);
/// How often the kernel's rules are compared with ours.
const VERIFY: Duration = Duration::from_secs(60);

pub const VXLAN_PORT: u16 = 8472;
const OVERLAY: Overlay = Overlay::Vxlan { vni: 1, port: VXLAN_PORT };
/// Reasons of the node's NetworkUnavailable condition.
const DNS_FAILED: &str = "DNSNotServed";
const RULES_FAILED: &str = "ServiceRulesNotApplied";
/// The packet mark that asks for masquerading.
pub const MASQUERADE: u32 = 0x4000;

pub fn open(s: &Facts, n: &NodeSettings) -> anyhow::Result<PodNet> {
    PodNet::open(Config {
        prefix: n.prefix.clone(),
        node: n.name.clone(),
        node_ips: vec![n.address],
        cluster_pod_cidrs: s.pods.clone(),
        service_cidrs: s.services.clone(),
        dns_ips: vec![s.dns],
        mtu: None,
        overlay: OVERLAY,
        state: n.data.join("agent/network"),
    })
    .context("open the pod network")
}

/// The pod network that the server of these traces had, to take it away.
pub fn reopen(data: &std::path::Path, t: &Traces) -> anyhow::Result<PodNet> {
    PodNet::open(Config {
        prefix: t.prefix.clone(),
        node: t.node.clone(),
        node_ips: Vec::new(),
        cluster_pod_cidrs: t.pods.clone(),
        service_cidrs: t.services.clone(),
        dns_ips: Vec::new(),
        mtu: None,
        overlay: OVERLAY,
        state: data.join("agent/network"),
    })
    .context("open the pod network")
}

/// The rules of Services of the same server.
pub fn rules_of(t: &Traces) -> anyhow::Result<ServiceProxy> {
    let facts = NodeFacts {
        node: t.node.clone(),
        zone: None,
        node_ips: Vec::new(),
        pod_cidrs: t.pods.clone(),
        service_cidrs: t.services.clone(),
        table: table(&t.prefix),
        masquerade_bit: MASQUERADE,
        local_ips: Vec::new(),
    };
    ServiceProxy::new(facts).context("open the rules of Services")
}

fn table(prefix: &str) -> String {
    format!("{prefix}-services")
}

/// Starts the pod network once the node has its part of it, then DNS and the rules of Services.
pub fn start(s: &Facts, n: &NodeSettings, net: &PodNet, informers: &Informers, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<NetworkHealth> {
    let health = NetworkHealth::default();
    let zone = Zone::new(&s.domain).with_context(|| format!("the cluster's domain {:?} is no DNS name", s.domain))?;
    follow_names(&zone, informers);
    let facts = NodeFacts {
        node: n.name.clone(),
        zone: None,
        node_ips: vec![n.address],
        pod_cidrs: s.pods.clone(),
        service_cidrs: s.services.clone(),
        table: table(&n.prefix),
        masquerade_bit: MASQUERADE,
        local_ips: vec![s.dns],
    };
    let (up, mut is_up) = watch::channel(false);
    let follow = peers::follow(informers.of::<Node>(), n.name.clone(), net.clone(), up, health.clone());
    tasks.spawn(stop.clone().run_until_cancelled_owned(follow));
    let (dns, informers) = (s.dns, informers.clone());
    let mut names_up = is_up.clone();
    let (h, names_health) = (health.clone(), health.clone());
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
        if names_up.wait_for(|up| *up).await.is_ok() {
            serve_names(zone, dns, names_health).await;
        }
    }));
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
        if is_up.wait_for(|up| *up).await.is_ok() {
            rules(facts, informers, h).await;
        }
    }));
    Ok(health)
}

/// As long as it is let: what ends or cannot begin is tried again, with the node's resolver as it is then.
async fn serve_names(zone: Zone, dns: IpAddr, health: NetworkHealth) {
    loop {
        let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let config = ServerConfig { listen: vec![SocketAddr::new(dns, 53)], upstreams: upstreams_of(&resolv, &[dns]) };
        match skiff_dns::Server::bind(zone.clone(), config).await {
            Ok(server) => {
                health.report(DNS_FAILED, Ok(()));
                server.run().await;
            }
            Err(e) => {
                tracing::error!(target: "dns", error = %e, "DNS is not served, trying again");
                health.report(DNS_FAILED, Err(format!("DNS is not served: {}", chain(&e))));
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Keeps the zone in step with Services and their endpoints.
fn follow_names(zone: &Zone, informers: &Informers) {
    let z = zone.clone();
    informers.of::<Service>().subscribe(move |c| {
        let row = c.row();
        match (c.kind, DnsService::from_json(&row.bytes)) {
            (ChangeKind::Deleted, _) => z.remove_service(row.namespace(), row.name()),
            (_, Ok(service)) => z.set_service(service),
            (_, Err(e)) => tracing::warn!(target: "dns", service = c.key(), error = %e, "service left out"),
        }
    });
    let z = zone.clone();
    informers.of::<EndpointSlice>().subscribe(move |c| {
        let row = c.row();
        let service = row.label("kubernetes.io/service-name").unwrap_or_default();
        match (c.kind, DnsSlice::from_json(&row.bytes)) {
            (ChangeKind::Deleted, _) => z.remove_slice(row.namespace(), service, row.name()),
            (_, Ok(Some(slice))) => z.set_slice(slice),
            (_, Ok(None)) => {}
            (_, Err(e)) => tracing::warn!(target: "dns", slice = c.key(), error = %e, "endpoint slice left out"),
        }
    });
}

#[derive(Default)]
struct Inputs {
    services: BTreeMap<String, Arc<skiff_rules::Service>>,
    slices: BTreeMap<String, Arc<skiff_rules::Slice>>,
}

/// Keeps the kernel's rules in step with Services and their endpoints.
async fn rules(facts: NodeFacts, informers: Informers, health: NetworkHealth) {
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
            Ok(Ok(())) => health.report(RULES_FAILED, Ok(())),
            Ok(Err(e)) => {
                tracing::warn!(target: "net", error = %chain(&e), "rules of Services not applied, trying again");
                health.report(RULES_FAILED, Err(format!("the rules of Services are not applied: {}", chain(&e))));
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
    health.report(RULES_FAILED, Err(format!("Services are not served: {}", chain(e))));
}

fn keep<T, E: std::fmt::Display>(map: &mut BTreeMap<String, Arc<T>>, c: &Change, read: impl Fn(&[u8]) -> Result<Option<T>, E>) {
    let read = if c.kind == ChangeKind::Deleted { Ok(None) } else { read(&c.row().bytes) };
    match read {
        Ok(Some(v)) => drop(map.insert(c.key().to_owned(), Arc::new(v))),
        Ok(None) => drop(map.remove(c.key())),
        Err(e) => tracing::warn!(target: "net", object = c.key(), error = %e, "left out of the rules"),
    }
}
