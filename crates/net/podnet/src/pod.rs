//! One pod's wire: the veth pair, its addresses, routes and neighbours on both sides.

use std::net::IpAddr;
use std::path::Path;

use skiff_netlink::{Mac, Neighbour, Prefix, Result, Route, RouteSpec};

/// The host's end has the same MAC address for every pod: nobody else sees it, and the pod's gateway never changes.
const HOST_MAC: Mac = Mac([0xee; 6]);
const POD_LINK: &str = "eth0";

fn gateway(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]) } else { IpAddr::from([169, 254, 1, 1]) }
}

fn any(ipv6: bool) -> Prefix {
    Prefix::new(if ipv6 { IpAddr::from([0u16; 8]) } else { IpAddr::from([0u8; 4]) }, 0)
}

/// A name of at most 15 bytes that follows from the sandbox' id.
pub(crate) fn link_name(prefix: &str, sandbox: &str) -> String {
    let hash = crate::overlay::fnv(sandbox.as_bytes());
    format!("{prefix}-p{:08x}", (hash ^ (hash >> 32)) as u32)
}

/// Idempotent. `host` is a socket in the host's namespace.
pub(crate) fn connect(host: &mut Route, link: &str, netns: &Path, ips: &[IpAddr], mtu: u32) -> Result<()> {
    let mut pod = Route::open_in(netns)?;
    if pod.find_link(POD_LINK)?.is_none() {
        // Half a pair of an attach that was cut off, or one of a namespace that has gone.
        host.remove_link(link)?;
    }
    let host_link = host.ensure_veth(link, Some(HOST_MAC), POD_LINK, netns, mtu)?;
    host.set_up(host_link.index, None)?;
    let pod_link = pod.link(POD_LINK)?;
    let lo = pod.link("lo")?;
    if !lo.up {
        pod.set_up(lo.index, None)?;
    }
    pod.set_up(pod_link.index, None)?;
    for ip in ips {
        let ipv6 = ip.is_ipv6();
        let gateway = gateway(ipv6);
        pod.ensure_address(pod_link.index, Prefix::host(*ip))?;
        let to_gateway = RouteSpec { destination: Prefix::host(gateway), gateway: None, link: pod_link.index, source: None, onlink: false };
        pod.ensure_route(&to_gateway)?;
        pod.ensure_route(&RouteSpec { destination: any(ipv6), gateway: Some(gateway), onlink: true, ..to_gateway })?;
        pod.ensure_neighbour(&Neighbour { link: pod_link.index, address: gateway, mac: HOST_MAC, forwarding: false })?;
        if let Some(mac) = pod_link.mac {
            host.ensure_neighbour(&Neighbour { link: host_link.index, address: *ip, mac, forwarding: false })?;
        }
        host.ensure_route(&RouteSpec { destination: Prefix::host(*ip), gateway: None, link: host_link.index, source: None, onlink: false })?;
    }
    Ok(())
}
