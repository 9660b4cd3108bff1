//! Routes, and the rtnetlink handle that all the `ensure_*` operations hang on.

use std::net::IpAddr;
use std::path::Path;

use crate::{Attributes, Message, NetlinkError, Protocol, Result, Socket, in_netns};

pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTNH_F_ONLINK: u32 = 4;
const RT_TABLE_MAIN: u8 = 254;

/// An address with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

impl Prefix {
    pub fn new(address: IpAddr, length: u8) -> Self {
        Self { address, length }
    }

    /// The prefix that holds this one address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

pub(crate) fn family_of(ip: &IpAddr) -> u8 {
    (if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

pub(crate) fn ip_bytes(ip: &IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A unicast route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteSpec {
    pub destination: Prefix,
    pub gateway: Option<IpAddr>,
    /// Index of the link that the route leaves by.
    pub link: u32,
    pub source: Option<IpAddr>,
    /// The gateway is on the link though no address of the link says so.
    pub onlink: bool,
}

/// An rtnetlink socket in one network namespace.
pub struct Route {
    pub(crate) socket: Socket,
}

impl Route {
    /// In the namespace of the calling thread.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(Protocol::Route)? })
    }

    /// In the namespace pinned at `path`.
    pub fn open_in(path: &Path) -> Result<Self> {
        in_netns(path, Self::open)?
    }

    fn route_message(kind: u16, flags: u16, spec: &RouteSpec) -> Message {
        let scope = if spec.gateway.is_none() && spec.destination.address.is_ipv4() { 253 } else { 0 };
        let mut fixed = vec![family_of(&spec.destination.address), spec.destination.length, 0, 0, RT_TABLE_MAIN, 4, scope, 1];
        fixed.extend_from_slice(&(if spec.onlink { RTNH_F_ONLINK } else { 0 }).to_ne_bytes());
        let mut message = Message::new(kind, flags, &fixed);
        if spec.destination.length > 0 {
            message.attribute(RTA_DST, &ip_bytes(&spec.destination.address));
        }
        if let Some(gateway) = &spec.gateway {
            message.attribute(RTA_GATEWAY, &ip_bytes(gateway));
        }
        if let Some(source) = &spec.source {
            message.attribute(RTA_PREFSRC, &ip_bytes(source));
        }
        message.u32(RTA_OIF, spec.link);
        if spec.destination.address.is_ipv6() {
            message.u32(RTA_PRIORITY, 1024);
        }
        message
    }

    pub fn ensure_route(&mut self, spec: &RouteSpec) -> Result<()> {
        let step = format!("add the route to {}", spec.destination);
        self.socket.request(&step, Self::route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, spec)).map(drop)
    }

    pub fn remove_route(&mut self, spec: &RouteSpec) -> Result<()> {
        let step = format!("remove the route to {}", spec.destination);
        match self.socket.request(&step, Self::route_message(RTM_DELROUTE, 0, spec)) {
            Err(error) if error.is(libc::ESRCH) || error.is(libc::ENODEV) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The unicast routes of the main table, of both families.
    pub fn routes(&mut self) -> Result<Vec<RouteSpec>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
            let mut fixed = [0u8; 12];
            fixed[0] = family;
            for reply in self.socket.dump("list the routes", Message::new(RTM_GETROUTE, 0, &fixed))? {
                found.extend(parse_route(&reply.body));
            }
        }
        Ok(found)
    }

    pub(crate) fn malformed(step: &str) -> NetlinkError {
        NetlinkError::Malformed { step: step.to_owned() }
    }
}

fn parse_route(body: &[u8]) -> Option<RouteSpec> {
    let (family, length, table, kind) = (*body.first()?, *body.get(1)?, *body.get(4)?, *body.get(7)?);
    if table != RT_TABLE_MAIN || kind != 1 {
        return None;
    }
    let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
    let any = if i32::from(family) == libc::AF_INET { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u8; 16]) };
    let attributes = Attributes::new(body.get(12..)?);
    Some(RouteSpec {
        destination: Prefix::new(attributes.clone().find(RTA_DST).and_then(|a| a.as_ip()).unwrap_or(any), length),
        gateway: attributes.clone().find(RTA_GATEWAY).and_then(|a| a.as_ip()),
        link: attributes.clone().find(RTA_OIF)?.as_u32()?,
        source: attributes.find(RTA_PREFSRC).and_then(|a| a.as_ip()),
        onlink: flags & RTNH_F_ONLINK != 0,
    })
}
