//! Other nodes' pods: which routes, neighbours and forwarding entries the list of nodes asks for, and making it so.

use std::net::IpAddr;

use ipnet::IpNet;
use skiff_netlink::{LinkKind, Mac, Neighbour, Prefix, Result, Route, RouteSpec, VxlanSpec};

/// How packets for another node's pods travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// In UDP, whatever is between the nodes.
    Vxlan { vni: u32, port: u16 },
    /// As they are, to a node on the same network as this one's address; by vxlan to the others.
    HostGateway { vni: u32, port: u16 },
}

impl Overlay {
    fn tunnel(&self) -> (u32, u16) {
        match self {
            Self::Vxlan { vni, port } | Self::HostGateway { vni, port } => (*vni, *port),
        }
    }
}

/// A node, as far as its pods' traffic goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeNet {
    pub name: String,
    pub ips: Vec<IpAddr>,
    pub pod_cidrs: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OverlayRoute {
    pub destination: IpNet,
    pub gateway: IpAddr,
    /// By the tunnel; otherwise by the node's own link.
    pub tunnel: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayPlan {
    pub routes: Vec<OverlayRoute>,
    /// Gateways behind the tunnel.
    pub neighbours: Vec<(IpAddr, Mac)>,
    /// Tunnel ends: frames to this address go to that node.
    pub forwarding: Vec<(Mac, IpAddr)>,
}

/// The MAC address of a node's tunnel end: locally administered, and the same wherever it is computed.
pub fn tunnel_mac(node_ip: &IpAddr, vni: u32) -> Mac {
    let mut bytes = match node_ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend_from_slice(&vni.to_be_bytes());
    let hash = fnv(&bytes);
    let [_, _, _, a, b, c, d, e] = (hash ^ (hash >> 40)).to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

/// FNV-1a: the same on every node and in every version, which the standard library's hasher doesn't promise.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Pure. `me` is this node's address, `on_link` the networks that this node's link is on. Nodes without an address of the same
/// family or without a pod CIDR are left out until they have them.
pub fn plan_overlay(me: &NodeNet, nodes: &[NodeNet], overlay: &Overlay, on_link: &[IpNet]) -> OverlayPlan {
    let mut plan = OverlayPlan::default();
    let Some(my_ip) = me.ips.first() else { return plan };
    let (vni, _) = overlay.tunnel();
    for node in nodes.iter().filter(|node| node.name != me.name) {
        let Some(ip) = node.ips.iter().find(|ip| ip.is_ipv4() == my_ip.is_ipv4()) else { continue };
        let direct = matches!(overlay, Overlay::HostGateway { .. }) && on_link.iter().any(|net| net.contains(ip));
        let mac = tunnel_mac(ip, vni);
        for cidr in &node.pod_cidrs {
            if direct && cidr.addr().is_ipv4() == ip.is_ipv4() {
                plan.routes.push(OverlayRoute { destination: *cidr, gateway: *ip, tunnel: false });
            } else {
                plan.routes.push(OverlayRoute { destination: *cidr, gateway: cidr.network(), tunnel: true });
                plan.neighbours.push((cidr.network(), mac));
            }
        }
        if plan.neighbours.iter().any(|(_, m)| *m == mac) {
            plan.forwarding.push((mac, *ip));
        }
    }
    plan
}

/// Makes the tunnel when there is a use for it, the routes and entries of the plan, and removes the tunnel's others. Direct routes that are gone from the plan are
/// removed when they lead into one of `cluster_cidrs`.
pub fn apply_overlay(route: &mut Route, link: &str, me: &NodeNet, overlay: &Overlay, plan: &OverlayPlan, cluster_cidrs: &[IpNet]) -> Result<()> {
    let Some(my_ip) = me.ips.first() else { return Ok(()) };
    let (vni, port) = overlay.tunnel();
    let addresses = route.addresses()?;
    let carrier = addresses.iter().find(|(_, prefix)| prefix.address == *my_ip).map(|(index, _)| *index);
    let mtu = carrier.and_then(|index| Some(route.links().ok()?.into_iter().find(|l| l.index == index)?.mtu));
    // A node alone needs no tunnel. One that has it keeps it: nodes come and go.
    if !plan.routes.iter().any(|r| r.tunnel) && route.find_link(link)?.is_none() {
        return apply_routes(route, None, carrier, plan, cluster_cidrs);
    }
    let kind = LinkKind::Vxlan(VxlanSpec { vni, port, local: *my_ip, parent: carrier });
    let overhead = if my_ip.is_ipv4() { 50 } else { 70 };
    let mac = tunnel_mac(my_ip, vni);
    let tunnel = route.ensure_link(link, &kind, Some(mac), mtu.map(|m| m.saturating_sub(overhead)))?.index;
    // The host itself reaches far pods from the network address, so that answers come back by the tunnel.
    for cidr in &me.pod_cidrs {
        route.ensure_address(tunnel, Prefix::host(cidr.network()))?;
    }
    let wanted_neighbours = plan
        .neighbours
        .iter()
        .map(|(address, mac)| Neighbour { link: tunnel, address: *address, mac: *mac, forwarding: false })
        .chain(plan.forwarding.iter().map(|(mac, ip)| Neighbour { link: tunnel, address: *ip, mac: *mac, forwarding: true }))
        .collect::<Vec<_>>();
    let present = route.neighbours(tunnel)?;
    for old in present.iter().filter(|n| !wanted_neighbours.contains(n)) {
        route.remove_neighbour(old)?;
    }
    for new in wanted_neighbours.iter().filter(|n| !present.contains(n)) {
        route.ensure_neighbour(new)?;
    }
    apply_routes(route, Some(tunnel), carrier, plan, cluster_cidrs)
}

fn apply_routes(route: &mut Route, tunnel: Option<u32>, carrier: Option<u32>, plan: &OverlayPlan, cluster: &[IpNet]) -> Result<()> {
    let spec = |r: &OverlayRoute| {
        let link = if r.tunnel { tunnel? } else { carrier? };
        let destination = Prefix::new(r.destination.network(), r.destination.prefix_len());
        Some(RouteSpec { destination, gateway: Some(r.gateway), link, source: None, onlink: r.tunnel })
    };
    let wanted: Vec<RouteSpec> = plan.routes.iter().filter_map(spec).collect();
    let ours = |r: &RouteSpec| {
        let net = IpNet::new(r.destination.address, r.destination.length).ok();
        let in_cluster = net.is_some_and(|net| cluster.iter().any(|c| c.contains(&net)));
        r.gateway.is_some() && in_cluster && [tunnel, carrier].contains(&Some(r.link))
    };
    let present: Vec<RouteSpec> = route.routes()?.into_iter().filter(ours).collect();
    for old in present.iter().filter(|r| !wanted.contains(r)) {
        route.remove_route(old)?;
    }
    for new in wanted.iter().filter(|r| !present.contains(r)) {
        route.ensure_route(new)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, ip: &str, cidr: &str) -> NodeNet {
        NodeNet { name: name.into(), ips: vec![ip.parse().unwrap()], pod_cidrs: vec![cidr.parse().unwrap()] }
    }

    #[test]
    fn near_nodes_are_routed_directly_and_far_ones_through_the_tunnel() {
        let me = node("a", "192.168.1.1", "10.42.0.0/24");
        let nodes = [me.clone(), node("b", "192.168.1.2", "10.42.1.0/24"), node("c", "192.168.2.3", "10.42.2.0/24")];
        let on_link = ["192.168.1.0/24".parse().unwrap()];
        let plan = plan_overlay(&me, &nodes, &Overlay::HostGateway { vni: 1, port: 8472 }, &on_link);
        let near = OverlayRoute { destination: nodes[1].pod_cidrs[0], gateway: nodes[1].ips[0], tunnel: false };
        let far = OverlayRoute { destination: nodes[2].pod_cidrs[0], gateway: "10.42.2.0".parse().unwrap(), tunnel: true };
        assert_eq!(plan.routes, [near, far]);
        let mac = tunnel_mac(&nodes[2].ips[0], 1);
        assert_eq!((plan.neighbours, plan.forwarding), (vec![("10.42.2.0".parse().unwrap(), mac)], vec![(mac, nodes[2].ips[0])]));
        let all = plan_overlay(&me, &nodes, &Overlay::Vxlan { vni: 1, port: 8472 }, &on_link);
        assert!(all.routes.iter().all(|r| r.tunnel) && all.forwarding.len() == 2);
    }
}
