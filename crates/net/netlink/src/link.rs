//! Links: bridge, dummy, veth with its peer in another namespace, vxlan.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::route::{NLM_F_CREATE, NLM_F_EXCL, ip_bytes};
use crate::{Attributes, Message, NetlinkError, Result, Route};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const VXLAN_ID: u16 = 1;
const VXLAN_LINK: u16 = 3;
const VXLAN_LOCAL: u16 = 4;
const VXLAN_LEARNING: u16 = 7;
const VXLAN_PORT: u16 = 15;
const VXLAN_LOCAL6: u16 = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// What the kernel says about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    pub mac: Option<Mac>,
    /// The kernel's word: veth, bridge, vxlan, dummy; empty for physical links.
    pub kind: String,
    pub up: bool,
    /// Index of the link below, or of the peer.
    pub parent: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanSpec {
    pub vni: u32,
    pub port: u16,
    pub local: IpAddr,
    /// Index of the link that carries the tunnel.
    pub parent: Option<u32>,
}

/// What a link that `ensure_link` makes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Bridge,
    Dummy,
    Vxlan(VxlanSpec),
}

impl LinkKind {
    fn word(&self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Dummy => "dummy",
            Self::Vxlan(_) => "vxlan",
        }
    }
}

fn ifinfo(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut fixed = vec![0, 0, 0, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    fixed.extend_from_slice(&flags.to_ne_bytes());
    fixed.extend_from_slice(&change.to_ne_bytes());
    fixed
}

impl Route {
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let replies = self.socket.dump("list the links", Message::new(RTM_GETLINK, 0, &ifinfo(0, 0, 0)))?;
        Ok(replies.iter().filter_map(|reply| parse_link(&reply.body)).collect())
    }

    pub fn find_link(&mut self, name: &str) -> Result<Option<Link>> {
        let step = format!("look up the link {name}");
        let mut message = Message::new(RTM_GETLINK, 0, &ifinfo(0, 0, 0));
        message.string(IFLA_IFNAME, name);
        match self.socket.request(&step, message) {
            Ok(replies) => match replies.iter().find_map(|reply| parse_link(&reply.body)) {
                Some(link) => Ok(Some(link)),
                None => Err(Self::malformed(&step)),
            },
            Err(error) if error.is(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The link, or `NoSuchLink`.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        self.find_link(name)?.ok_or_else(|| NetlinkError::NoSuchLink(name.to_owned()))
    }

    /// A link of that name, kind and MTU, up. One of another kind is replaced; `EOPNOTSUPP` when the kernel lacks the kind.
    pub fn ensure_link(&mut self, name: &str, kind: &LinkKind, mac: Option<Mac>, mtu: Option<u32>) -> Result<Link> {
        if let Some(found) = self.find_link(name)? {
            if found.kind == kind.word() && mac.is_none_or(|mac| found.mac == Some(mac)) {
                return self.settle(found, mtu);
            }
            self.remove_link(name)?;
        }
        let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0));
        message.string(IFLA_IFNAME, name);
        if let Some(mac) = mac {
            message.attribute(IFLA_ADDRESS, &mac.0);
        }
        message.nested(IFLA_LINKINFO, |info| {
            info.string(IFLA_INFO_KIND, kind.word());
            if let LinkKind::Vxlan(spec) = kind {
                info.nested(IFLA_INFO_DATA, |data| vxlan_data(data, spec));
            }
        });
        self.socket.request(&format!("make the {} link {name}", kind.word()), message)?;
        let made = self.link(name)?;
        self.settle(made, mtu)
    }

    fn settle(&mut self, link: Link, mtu: Option<u32>) -> Result<Link> {
        if mtu.is_some_and(|mtu| mtu != link.mtu) || !link.up {
            self.set_up(link.index, mtu)?;
        }
        self.link(&link.name)
    }

    /// A veth pair: `name` here, `peer` in the namespace at `netns`. Both are down. Left alone when `name` is there.
    pub fn ensure_veth(&mut self, name: &str, mac: Option<Mac>, peer: &str, netns: &Path, mtu: u32) -> Result<Link> {
        if let Some(found) = self.find_link(name)? {
            return Ok(found);
        }
        let step = format!("make the veth pair {name}, {peer} in {}", netns.display());
        let namespace = File::open(netns).map_err(|source| NetlinkError::system(&step, source))?;
        let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0));
        message.string(IFLA_IFNAME, name).u32(IFLA_MTU, mtu);
        if let Some(mac) = mac {
            message.attribute(IFLA_ADDRESS, &mac.0);
        }
        message.nested(IFLA_LINKINFO, |info| {
            info.string(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |other| {
                    other.raw(&ifinfo(0, 0, 0)).string(IFLA_IFNAME, peer).u32(IFLA_MTU, mtu);
                    other.u32(IFLA_NET_NS_FD, namespace.as_raw_fd() as u32);
                });
            });
        });
        self.socket.request(&step, message)?;
        self.link(name)
    }

    /// Brings a link up, with an MTU if one is given.
    pub fn set_up(&mut self, index: u32, mtu: Option<u32>) -> Result<()> {
        let up = libc::IFF_UP as u32;
        let mut message = Message::new(RTM_SETLINK, 0, &ifinfo(index, up, up));
        if let Some(mtu) = mtu {
            message.u32(IFLA_MTU, mtu);
        }
        self.socket.request(&format!("bring link {index} up"), message).map(drop)
    }

    /// Makes `index` a port of the bridge `master`.
    pub fn set_master(&mut self, index: u32, master: u32) -> Result<()> {
        let mut message = Message::new(RTM_SETLINK, 0, &ifinfo(index, 0, 0));
        message.u32(IFLA_MASTER, master);
        self.socket.request(&format!("put link {index} on bridge {master}"), message).map(drop)
    }

    pub fn remove_link(&mut self, name: &str) -> Result<()> {
        let mut message = Message::new(RTM_DELLINK, 0, &ifinfo(0, 0, 0));
        message.string(IFLA_IFNAME, name);
        match self.socket.request(&format!("remove the link {name}"), message) {
            Err(error) if error.is(libc::ENODEV) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn vxlan_data(data: &mut Message, spec: &VxlanSpec) {
    let local = if spec.local.is_ipv4() { VXLAN_LOCAL } else { VXLAN_LOCAL6 };
    data.u32(VXLAN_ID, spec.vni).attribute(local, &ip_bytes(&spec.local));
    data.attribute(VXLAN_PORT, &spec.port.to_be_bytes()).u8(VXLAN_LEARNING, 0);
    if let Some(parent) = spec.parent {
        data.u32(VXLAN_LINK, parent);
    }
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
    let attributes = Attributes::new(body.get(16..)?);
    let info = attributes.clone().find(IFLA_LINKINFO);
    let kind = info.and_then(|i| i.nested().find(IFLA_INFO_KIND)).and_then(|k| k.as_str().map(str::to_owned));
    Some(Link {
        index: u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?),
        name: attributes.clone().find(IFLA_IFNAME)?.as_str()?.to_owned(),
        mtu: attributes.clone().find(IFLA_MTU)?.as_u32()?,
        mac: attributes.clone().find(IFLA_ADDRESS).and_then(|a| Some(Mac(a.value.try_into().ok()?))),
        kind: kind.unwrap_or_default(),
        up: flags & libc::IFF_UP as u32 != 0,
        parent: attributes.find(IFLA_LINK).and_then(|a| a.as_u32()),
    })
}
