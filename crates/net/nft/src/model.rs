//! The model: a table and what is in it, ordered, comparable.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{Expr, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Inet = 1,
    Ipv4 = 2,
    Ipv6 = 10,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainType {
    Filter,
    Nat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// Where packets enter. The policy is always accept: a packet that nobody speaks about passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseChain {
    pub kind: ChainType,
    pub hook: Hook,
    pub priority: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule(pub Vec<Expr>);

impl Rule {
    /// Changes whenever the rule does; the same for the same rule in each run of one build.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub base: Option<BaseChain>,
    pub rules: Vec<Rule>,
}

impl Chain {
    pub fn base(kind: ChainType, hook: Hook, priority: i32) -> Self {
        Self { base: Some(BaseChain { kind, hook, priority }), rules: Vec::new() }
    }

    pub fn rule(mut self, exprs: impl Into<Vec<Expr>>) -> Self {
        self.rules.push(Rule(exprs.into()));
        self
    }
}

/// One part of a key or of a map's data. In a concatenation each part is padded to four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Ipv4,
    Ipv6,
    Proto,
    Port,
    /// A number in the machine's byte order.
    Index,
}

impl Field {
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Ipv4 | Self::Index => 4,
            Self::Ipv6 => 16,
            Self::Proto => 1,
            Self::Port => 2,
        }
    }

    /// The number by which the nft program knows the type (6 bits a part).
    pub(crate) fn type_number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Proto => 12,
            Self::Port => 13,
            Self::Index => 19,
        }
    }
}

/// Bytes of a key or of data, as the kernel compares them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Vec<u8>);

impl Key {
    pub fn new() -> Self {
        Self::default()
    }

    fn push(mut self, bytes: &[u8]) -> Self {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn ip(self, ip: IpAddr) -> Self {
        self.push(&Expr::address_bytes(&ip))
    }

    pub fn proto(self, proto: u8) -> Self {
        self.push(&[proto])
    }

    pub fn port(self, port: u16) -> Self {
        self.push(&port.to_be_bytes())
    }

    pub fn index(self, index: u32) -> Self {
        self.push(&index.to_ne_bytes())
    }

    /// Padded as a concatenation of `fields` is; a single part is not padded.
    pub(crate) fn padded(&self, fields: &[Field]) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(length_of(fields), 0);
        bytes
    }
}

pub(crate) fn length_of(fields: &[Field]) -> usize {
    match fields {
        [one] => one.width(),
        many => many.iter().map(|f| f.width().next_multiple_of(4)).sum(),
    }
}

/// What an element carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    Data(Key),
    Verdict(Verdict),
}

/// A set, a map (`data`), or a verdict map (`verdicts`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub key: Vec<Field>,
    pub data: Vec<Field>,
    pub verdicts: bool,
    /// Packets add elements, which go after this long without one. Such a set has no elements in the model.
    pub timeout: Option<Duration>,
    pub elements: BTreeMap<Key, Value>,
}

impl Set {
    pub fn of(key: &[Field]) -> Self {
        Self { key: key.to_vec(), ..Self::default() }
    }

    pub fn map(key: &[Field], data: &[Field]) -> Self {
        Self { key: key.to_vec(), data: data.to_vec(), ..Self::default() }
    }

    pub fn verdict_map(key: &[Field]) -> Self {
        Self { key: key.to_vec(), verdicts: true, ..Self::default() }
    }

    pub fn dynamic(key: &[Field], timeout: Duration) -> Self {
        Self { key: key.to_vec(), timeout: Some(timeout), ..Self::default() }
    }

    /// Everything but the elements: sets of different shapes can't be turned into each other.
    pub(crate) fn same_shape(&self, other: &Self) -> bool {
        (&self.key, &self.data, self.verdicts, self.timeout) == (&other.key, &other.data, other.verdicts, other.timeout)
    }
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    pub family: Family,
    pub table: Arc<str>,
    pub chains: BTreeMap<Arc<str>, Chain>,
    pub sets: BTreeMap<Arc<str>, Set>,
}

impl Ruleset {
    pub fn new(family: Family, table: impl Into<Arc<str>>) -> Self {
        Self { family, table: table.into(), chains: BTreeMap::new(), sets: BTreeMap::new() }
    }

    /// The elements of a set; it is there afterwards in any case.
    pub fn set(&mut self, name: &str, shape: impl FnOnce() -> Set) -> &mut Set {
        self.sets.entry(name.into()).or_insert_with(shape)
    }

    pub fn insert(&mut self, set: &str, key: Key, value: Value) {
        if let Some(set) = self.sets.get_mut(set) {
            set.elements.insert(key, value);
        }
    }

    /// What the rules and elements name but the model lacks. Empty for a ruleset that the kernel can take.
    pub fn dangling(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let exprs = self.chains.values().flat_map(|c| &c.rules).flat_map(|r| &r.0);
        for expr in exprs {
            missing.extend(expr.set().filter(|s| !self.sets.contains_key(*s)).map(|s| format!("set {s}")));
            missing.extend(expr.chain().filter(|c| !self.chains.contains_key(*c)).map(|c| format!("chain {c}")));
        }
        for value in self.sets.values().flat_map(|s| s.elements.values()) {
            if let Value::Verdict(verdict) = value {
                missing.extend(verdict.chain().filter(|c| !self.chains.contains_key(*c)).map(|c| format!("chain {c}")));
            }
        }
        missing
    }
}
