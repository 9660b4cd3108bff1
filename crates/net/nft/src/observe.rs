//! What the kernel has of a table, in as much detail as verification needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use skiff_netlink::{Attribute, Attributes, Message, Protocol, Result, Socket};

use crate::model::length_of;
use crate::{Key, Ruleset, Value};

const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_ELEMENT: u16 = 13;

/// Chains with the digests of their rules, and sets with their elements' keys and what a verdict names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub chains: BTreeMap<String, Vec<Option<u64>>>,
    pub sets: BTreeMap<String, BTreeMap<Vec<u8>, ObservedValue>>,
}

/// An element's data, or the chain of its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedValue {
    pub data: Vec<u8>,
    pub chain: Option<String>,
}

impl Observed {
    /// True when nothing but packets has changed the table since `ruleset` was applied. Chains named in `lingering` may be there still.
    pub fn matches(&self, ruleset: &Ruleset, lingering: &[Arc<str>]) -> bool {
        self.same_rules(ruleset, lingering)
            && ruleset.sets.iter().all(|(name, set)| {
                let Some(found) = self.sets.get(&**name) else { return false };
                set.timeout.is_some()
                    || found.len() == set.elements.len()
                        && set.elements.iter().all(|(key, value)| found.get(&key.padded(&set.key)).is_some_and(|found| same_value(found, value, &set.data)))
            })
    }

    /// The chains with their rules, and the names of the sets, whatever is in these.
    pub(crate) fn same_rules(&self, ruleset: &Ruleset, lingering: &[Arc<str>]) -> bool {
        let extra = |name: &String| !ruleset.chains.contains_key(name.as_str()) && !lingering.iter().any(|l| **l == **name);
        if self.chains.keys().any(extra) || !self.sets.keys().map(String::as_str).eq(ruleset.sets.keys().map(|name| &**name)) {
            return false;
        }
        ruleset.chains.iter().all(|(name, chain)| {
            let found = self.chains.get(&**name);
            found.is_some_and(|digests| digests.iter().copied().eq(chain.rules.iter().map(|rule| Some(rule.digest()))))
        })
    }
}

fn same_value(found: &ObservedValue, value: &Value, fields: &[crate::Field]) -> bool {
    match value {
        Value::None => true,
        Value::Data(Key(bytes)) => found.data.starts_with(bytes) && found.data.len() >= length_of(fields),
        Value::Verdict(verdict) => found.chain.as_deref() == verdict.chain(),
    }
}

/// Reads the table; an empty answer when it isn't there.
pub(crate) fn observe(socket: &mut Socket, family: u8, table: &str) -> Result<Observed> {
    let mut observed = Observed::default();
    let request = |kind| {
        let mut message: Message = crate::encode::message(kind, 0, family);
        message.string(1, table);
        message
    };
    for reply in socket.dump("list chains", request(GET_CHAIN))? {
        if let Some((found_table, name)) = names(&reply.body, 1, 3)
            && found_table == table
        {
            observed.chains.insert(name.to_owned(), Vec::new());
        }
    }
    for reply in socket.dump("list rules", request(GET_RULE)).or_else(absent)? {
        let Some((found_table, chain)) = names(&reply.body, 1, 2) else { continue };
        if found_table == table
            && let Some(rules) = observed.chains.get_mut(chain)
        {
            rules.push(attributes(&reply.body).find(7).and_then(digest_of));
        }
    }
    for reply in socket.dump("list sets", request(GET_SET)).or_else(absent)? {
        let Some((found_table, name)) = names(&reply.body, 1, 2) else { continue };
        if found_table == table {
            observed.sets.insert(name.to_owned(), BTreeMap::new());
        }
    }
    for (name, elements) in &mut observed.sets {
        let mut message = request(GET_ELEMENT);
        message.string(2, name);
        for reply in socket.dump("list elements", message)? {
            let list = attributes(&reply.body).find(3);
            elements.extend(list.into_iter().flat_map(|l| l.nested()).filter_map(element));
        }
    }
    Ok(observed)
}

fn absent(error: skiff_netlink::NetlinkError) -> Result<Vec<skiff_netlink::Reply>> {
    if error.is(libc::ENOENT) { Ok(Vec::new()) } else { Err(error) }
}

fn attributes(body: &[u8]) -> Attributes<'_> {
    Attributes::new(body.get(4..).unwrap_or(&[]))
}

fn names(body: &[u8], table: u16, name: u16) -> Option<(&str, &str)> {
    Some((attributes(body).find(table)?.as_str()?, attributes(body).find(name)?.as_str()?))
}

fn digest_of(userdata: Attribute<'_>) -> Option<u64> {
    let text = std::str::from_utf8(userdata.value.get(2..18)?).ok()?;
    u64::from_str_radix(text, 16).ok()
}

fn element(element: Attribute<'_>) -> Option<(Vec<u8>, ObservedValue)> {
    let key = element.nested().find(1)?.nested().find(1)?.value.to_vec();
    let data = element.nested().find(2);
    let bytes = data.and_then(|d| d.nested().find(1)).map(|v| v.value.to_vec());
    let verdict = data.and_then(|d| d.nested().find(2));
    let chain = verdict.and_then(|v| v.nested().find(2)).and_then(|c| c.as_str().map(str::to_owned));
    Some((key, ObservedValue { data: bytes.unwrap_or_default(), chain }))
}

pub(crate) fn open() -> Result<Socket> {
    Socket::open(Protocol::Netfilter)
}
