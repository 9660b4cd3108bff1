//! DNS: the zone in step with Services and their endpoints, and its server.

use crate::chain;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use skiff_dns::{DnsService, DnsSlice, Server, ServerConfig, Zone, upstreams_of};
use skiff_informer::{ChangeKind, Informers};
use skiff_kubelet::NetworkHealth;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Between two tries of what could not be started.
const AGAIN: Duration = Duration::from_secs(5);
/// Reason of the node's NetworkUnavailable condition.
const FAILED: &str = "DNSNotServed";

/// As long as it is let: what ends or cannot begin is tried again, with the node's resolver as it is then.
pub(crate) async fn serve(zone: Zone, dns: IpAddr, health: NetworkHealth) {
    loop {
        let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let config = ServerConfig { listen: vec![SocketAddr::new(dns, 53)], upstreams: upstreams_of(&resolv, &[dns]) };
        match Server::bind(zone.clone(), config).await {
            Ok(server) => {
                health.report(FAILED, Ok(()));
                server.run().await;
            }
            Err(e) => {
                tracing::error!(target: "dns", error = %e, "DNS is not served, trying again");
                health.report(FAILED, Err(format!("DNS is not served: {}", chain(&e))));
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Keeps the zone in step with Services and their endpoints.
pub(crate) fn follow(zone: &Zone, informers: &Informers) {
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
