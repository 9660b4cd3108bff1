//! Permanent neighbours, and forwarding entries of vxlan links.

use std::net::IpAddr;

use crate::route::{NLM_F_CREATE, NLM_F_REPLACE, family_of, ip_bytes};
use crate::{Attributes, Mac, Message, Result, Route};

const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 2;
const AF_BRIDGE: u8 = 7;

/// `address` is behind `mac`. For a forwarding entry: frames to `mac` go to the tunnel end `address`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    pub link: u32,
    pub address: IpAddr,
    pub mac: Mac,
    pub forwarding: bool,
}

fn neighbour_message(kind: u16, flags: u16, neighbour: &Neighbour) -> Message {
    let family = if neighbour.forwarding { AF_BRIDGE } else { family_of(&neighbour.address) };
    let mut fixed = vec![family, 0, 0, 0];
    fixed.extend_from_slice(&neighbour.link.to_ne_bytes());
    fixed.extend_from_slice(&NUD_PERMANENT.to_ne_bytes());
    fixed.extend_from_slice(&[if neighbour.forwarding { NTF_SELF } else { 0 }, 0]);
    let mut message = Message::new(kind, flags, &fixed);
    message.attribute(NDA_DST, &ip_bytes(&neighbour.address)).attribute(NDA_LLADDR, &neighbour.mac.0);
    message
}

impl Route {
    pub fn ensure_neighbour(&mut self, neighbour: &Neighbour) -> Result<()> {
        let step = format!("add the neighbour {} on link {}", neighbour.address, neighbour.link);
        self.socket.request(&step, neighbour_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbour)).map(drop)
    }

    pub fn remove_neighbour(&mut self, neighbour: &Neighbour) -> Result<()> {
        let step = format!("remove the neighbour {} of link {}", neighbour.address, neighbour.link);
        match self.socket.request(&step, neighbour_message(RTM_DELNEIGH, 0, neighbour)) {
            Err(error) if error.is(libc::ENOENT) || error.is(libc::ENODEV) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The permanent neighbours and forwarding entries of one link.
    pub fn neighbours(&mut self, link: u32) -> Result<Vec<Neighbour>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8, AF_BRIDGE] {
            let mut fixed = [0u8; 12];
            fixed[0] = family;
            let replies = self.socket.dump("list the neighbours", Message::new(RTM_GETNEIGH, 0, &fixed))?;
            found.extend(replies.iter().filter_map(|reply| parse_neighbour(&reply.body, family == AF_BRIDGE)));
        }
        found.retain(|n| n.link == link);
        Ok(found)
    }
}

fn parse_neighbour(body: &[u8], forwarding: bool) -> Option<Neighbour> {
    let state = u16::from_ne_bytes(body.get(8..10)?.try_into().ok()?);
    if state & NUD_PERMANENT == 0 || (*body.first()? == AF_BRIDGE) != forwarding {
        return None;
    }
    let attributes = Attributes::new(body.get(12..)?);
    Some(Neighbour {
        link: u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?),
        address: attributes.clone().find(NDA_DST)?.as_ip()?,
        mac: Mac(attributes.find(NDA_LLADDR)?.value.try_into().ok()?),
        forwarding,
    })
}
