//! Addresses of links.

use crate::route::{NLM_F_CREATE, NLM_F_REPLACE, family_of, ip_bytes};
use crate::{Attributes, Message, Prefix, Result, Route};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;

fn address_message(kind: u16, flags: u16, link: u32, address: &Prefix) -> Message {
    // No duplicate address detection: the address would be unusable for a second, and we hand it out ourselves.
    let nodad = if address.address.is_ipv6() { IFA_F_NODAD } else { 0 };
    let mut fixed = vec![family_of(&address.address), address.length, nodad, 0];
    fixed.extend_from_slice(&link.to_ne_bytes());
    let mut message = Message::new(kind, flags, &fixed);
    message.attribute(IFA_LOCAL, &ip_bytes(&address.address)).attribute(IFA_ADDRESS, &ip_bytes(&address.address));
    message
}

impl Route {
    pub fn ensure_address(&mut self, link: u32, address: Prefix) -> Result<()> {
        let step = format!("add the address {address} to link {link}");
        match self.socket.request(&step, address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, link, &address)) {
            Err(error) if error.is(libc::EEXIST) => Ok(()),
            other => other.map(drop),
        }
    }

    pub fn remove_address(&mut self, link: u32, address: Prefix) -> Result<()> {
        let step = format!("remove the address {address} of link {link}");
        match self.socket.request(&step, address_message(RTM_DELADDR, 0, link, &address)) {
            Err(error) if error.is(libc::EADDRNOTAVAIL) || error.is(libc::ENODEV) => Ok(()),
            other => other.map(drop),
        }
    }

    /// All addresses: the link's index, and the address.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Prefix)>> {
        let replies = self.socket.dump("list the addresses", Message::new(RTM_GETADDR, 0, &[0; 8]))?;
        Ok(replies.iter().filter_map(|reply| parse_address(&reply.body)).collect())
    }
}

fn parse_address(body: &[u8]) -> Option<(u32, Prefix)> {
    let link = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let attributes = Attributes::new(body.get(8..)?);
    let address = attributes.clone().find(IFA_LOCAL).or_else(|| attributes.find(IFA_ADDRESS))?.as_ip()?;
    Some((link, Prefix::new(address, *body.get(1)?)))
}
