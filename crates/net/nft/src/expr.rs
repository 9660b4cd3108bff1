//! The expressions that rules are made of: the kernel's own small instructions over registers.

use std::net::IpAddr;
use std::sync::Arc;

/// A 4-byte register, 0 to 15. Longer values take as many as they need, the next ones upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u8);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(Arc<str>),
    Goto(Arc<str>),
}

impl Verdict {
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetaKey {
    Mark = 3,
    InputName = 6,
    OutputName = 7,
    Family = 15,
    L4Proto = 16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtKey {
    /// Bits: invalid 1, established 2, related 4, new 8.
    State = 0,
    /// Bits: source NAT 16, destination NAT 32.
    Status = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    Network = 1,
    Transport = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CmpOp {
    Eq = 0,
    Neq = 1,
    Lte = 3,
    Gte = 5,
}

/// Which address' type the routing table is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fib {
    Source = 1,
    Destination = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    Source = 0,
    Destination = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    TcpReset,
    PortUnreachable,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    Meta {
        key: MetaKey,
        to: Register,
    },
    SetMeta {
        key: MetaKey,
        from: Register,
    },
    Ct {
        key: CtKey,
        to: Register,
    },
    Payload {
        base: Base,
        offset: u32,
        length: u32,
        to: Register,
    },
    Cmp {
        op: CmpOp,
        from: Register,
        value: Vec<u8>,
    },
    /// `to = (from & mask) ^ xor`
    Bitwise {
        from: Register,
        to: Register,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    /// In the set, or not in it.
    Lookup {
        set: Arc<str>,
        from: Register,
        negate: bool,
    },
    /// A map's value into registers.
    MapLookup {
        map: Arc<str>,
        from: Register,
        to: Register,
    },
    /// A verdict map: acts on the verdict that it finds.
    VerdictLookup {
        map: Arc<str>,
        from: Register,
    },
    Immediate {
        to: Register,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    /// The type of an address (local is 2) into a register.
    FibType {
        of: Fib,
        to: Register,
    },
    /// A random number below `modulus`.
    Random {
        modulus: u32,
        to: Register,
    },
    Nat {
        kind: NatKind,
        ipv6: bool,
        address: Option<Register>,
        port: Option<Register>,
    },
    Masquerade {
        fully_random: bool,
    },
    Reject(Reject),
    /// Adds the key to a dynamic set, or renews its timeout.
    Update {
        set: Arc<str>,
        from: Register,
    },
    Counter,
}

impl Expr {
    /// The set or map that the expression needs.
    pub fn set(&self) -> Option<&str> {
        match self {
            Self::Lookup { set, .. } | Self::Update { set, .. } => Some(set),
            Self::MapLookup { map, .. } | Self::VerdictLookup { map, .. } => Some(map),
            _ => None,
        }
    }

    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Verdict(verdict) => verdict.chain(),
            _ => None,
        }
    }

    pub fn source_address(ipv6: bool, to: Register) -> Self {
        let (offset, length) = if ipv6 { (8, 16) } else { (12, 4) };
        Self::Payload { base: Base::Network, offset, length, to }
    }

    pub fn destination_address(ipv6: bool, to: Register) -> Self {
        let (offset, length) = if ipv6 { (24, 16) } else { (16, 4) };
        Self::Payload { base: Base::Network, offset, length, to }
    }

    pub fn destination_port(to: Register) -> Self {
        Self::Payload { base: Base::Transport, offset: 2, length: 2, to }
    }

    pub fn cmp_u32(op: CmpOp, from: Register, value: u32) -> Self {
        Self::Cmp { op, from, value: value.to_ne_bytes().to_vec() }
    }

    pub fn address_bytes(ip: &IpAddr) -> Vec<u8> {
        match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }
}
