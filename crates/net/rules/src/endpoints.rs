//! Which endpoints a Service port may use on this node: readiness, traffic policies, topology hints.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::{Endpoint, NodeFacts, Service};

/// Endpoints by traffic policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// For policy Cluster.
    pub cluster: BTreeSet<(IpAddr, u16)>,
    /// For policy Local: on this node.
    pub local: BTreeSet<(IpAddr, u16)>,
    /// Those of the two that are on this node: they may reach themselves.
    pub on_this_node: BTreeSet<(IpAddr, u16)>,
    /// The Service has a usable endpoint somewhere in the cluster.
    pub any: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Topology {
    Anywhere,
    SameNode,
    SameZone,
}

/// Ready endpoints; without any, those that terminate but still serve, for each policy by itself.
pub fn usable(endpoints: &[(&Endpoint, u16)], service: &Service, node: &NodeFacts) -> Usable {
    let is_local = |e: &Endpoint| e.node.as_deref() == Some(node.node.as_str());
    let fading = |e: &Endpoint| e.serving && e.terminating;
    let pick = |wanted: &dyn Fn(&Endpoint) -> bool| -> BTreeSet<(IpAddr, u16)> {
        endpoints.iter().filter(|(e, _)| wanted(e)).map(|(e, port)| (e.address, *port)).collect()
    };
    let mut out = Usable { any: endpoints.iter().any(|(e, _)| e.ready || fading(e)), ..Usable::default() };
    let topology = topology(endpoints, node);
    out.cluster = pick(&|e| e.ready && available(e, topology, node));
    if out.cluster.is_empty() {
        out.cluster = pick(&fading);
    }
    if service.internal_local || service.external_local {
        out.local = pick(&|e| is_local(e) && e.ready);
        if out.local.is_empty() {
            out.local = pick(&|e| is_local(e) && fading(e));
        }
    }
    let here = pick(&is_local);
    out.on_this_node = out.cluster.union(&out.local).filter(|e| here.contains(e)).copied().collect();
    out
}

/// Hints count only when each ready endpoint has one and one of them names this node, or its zone.
fn topology(endpoints: &[(&Endpoint, u16)], node: &NodeFacts) -> Topology {
    let ready: Vec<&Endpoint> = endpoints.iter().map(|(e, _)| *e).filter(|e| e.ready).collect();
    let zone = node.zone.as_deref().unwrap_or_default();
    let hinted = |hints: fn(&Endpoint) -> &Vec<String>, name: &str| {
        !name.is_empty() && ready.iter().all(|e| !hints(e).is_empty()) && ready.iter().any(|e| hints(e).iter().any(|h| h == name))
    };
    match () {
        () if ready.is_empty() => Topology::Anywhere,
        () if hinted(|e| &e.node_hints, &node.node) => Topology::SameNode,
        () if hinted(|e| &e.zone_hints, zone) => Topology::SameZone,
        () => Topology::Anywhere,
    }
}

fn available(endpoint: &Endpoint, topology: Topology, node: &NodeFacts) -> bool {
    match topology {
        Topology::Anywhere => true,
        Topology::SameNode => endpoint.node_hints.contains(&node.node),
        Topology::SameZone => node.zone.as_ref().is_some_and(|zone| endpoint.zone_hints.contains(zone)),
    }
}
