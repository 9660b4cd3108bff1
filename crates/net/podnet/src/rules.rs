//! The pod network's own rules: masquerading of what leaves the cluster, and host ports.

use std::net::IpAddr;

use ipnet::IpNet;
use skiff_nft::{Chain, ChainType, CmpOp, CtKey, Expr, Family, Fib, Field, Hook, Key, MetaKey, NatKind, Register, Ruleset, Set, Value};

use crate::{Allocations, Config};

const R0: Register = Register(0);

pub(crate) fn pod_rules(config: &Config, pod_cidrs: &[IpNet], allocations: &Allocations) -> Ruleset {
    let mut rules = Ruleset::new(Family::Inet, config.table());
    for ipv6 in [false, true] {
        let address = if ipv6 { Field::Ipv6 } else { Field::Ipv4 };
        let target = [address, Field::Port];
        rules.set(name("hostports", ipv6), || Set::map(&[Field::Proto, Field::Port], &target));
        rules.set(name("hostports-of-ip", ipv6), || Set::map(&[address, Field::Proto, Field::Port], &target));
        rules.set(name("hostport-pods", ipv6), || Set::of(&[address, address]));
    }
    for allocation in allocations.sandboxes.values() {
        for ip in &allocation.ips {
            host_ports(&mut rules, *ip, allocation);
        }
    }
    let mut lookups = Vec::new();
    let mut postrouting = Chain::base(ChainType::Nat, Hook::Postrouting, 99);
    for ipv6 in [false, true] {
        lookups.push(by_address(ipv6));
        lookups.push(by_port(ipv6));
        postrouting = postrouting.rule(hairpin(ipv6));
    }
    for cidr in pod_cidrs {
        postrouting = postrouting.rule(leaves_cluster(cidr, config));
    }
    // Before Services (-100): a host port is the node's own.
    for (chain, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        let base = Chain::base(ChainType::Nat, hook, -101);
        rules.chains.insert(chain.into(), lookups.iter().fold(base, |c, exprs| c.rule(exprs.clone())));
    }
    rules.chains.insert("postrouting".into(), postrouting);
    rules
}

fn name(set: &str, ipv6: bool) -> &'static str {
    match (set, ipv6) {
        ("hostports", false) => "hostports-4",
        ("hostports", true) => "hostports-6",
        ("hostports-of-ip", false) => "hostports-of-ip-4",
        ("hostports-of-ip", true) => "hostports-of-ip-6",
        (_, false) => "hostport-pods-4",
        (_, true) => "hostport-pods-6",
    }
}

fn host_ports(rules: &mut Ruleset, pod: IpAddr, allocation: &crate::Allocation) {
    let ipv6 = pod.is_ipv6();
    for port in &allocation.host_ports {
        let target = Value::Data(Key::new().ip(pod).port(port.container_port));
        match port.host_ip.filter(|ip| !ip.is_unspecified()) {
            None => rules.insert(name("hostports", ipv6), Key::new().proto(port.protocol).port(port.host_port), target),
            Some(ip) if ip.is_ipv6() == ipv6 => {
                let key = Key::new().ip(ip).proto(port.protocol).port(port.host_port);
                rules.insert(name("hostports-of-ip", ipv6), key, target);
            }
            Some(_) => continue,
        }
        rules.insert(name("hostport-pods", ipv6), Key::new().ip(pod).ip(pod), Value::None);
    }
}

fn of_family(ipv6: bool) -> Vec<Expr> {
    let number = if ipv6 { 10 } else { 2 };
    vec![Expr::Meta { key: MetaKey::Family, to: R0 }, Expr::Cmp { op: CmpOp::Eq, from: R0, value: vec![number] }]
}

fn dnat(ipv6: bool) -> Expr {
    let port = Some(Register(if ipv6 { 12 } else { 9 }));
    Expr::Nat { kind: NatKind::Destination, ipv6, address: Some(Register(8)), port }
}

fn by_address(ipv6: bool) -> Vec<Expr> {
    let next = if ipv6 { 4 } else { 1 };
    let mut exprs = of_family(ipv6);
    exprs.extend([
        Expr::destination_address(ipv6, R0),
        Expr::Meta { key: MetaKey::L4Proto, to: Register(next) },
        Expr::destination_port(Register(next + 1)),
        Expr::MapLookup { map: name("hostports-of-ip", ipv6).into(), from: R0, to: Register(8) },
        dnat(ipv6),
    ]);
    exprs
}

fn by_port(ipv6: bool) -> Vec<Expr> {
    let mut exprs = of_family(ipv6);
    exprs.extend([
        Expr::FibType { of: Fib::Destination, to: R0 },
        Expr::cmp_u32(CmpOp::Eq, R0, 2),
        // Not loopback: an answer could not come back to it.
        Expr::destination_address(ipv6, R0),
        Expr::Bitwise { from: R0, to: R0, mask: loopback_mask(ipv6), xor: vec![0; if ipv6 { 16 } else { 4 }] },
        Expr::Cmp { op: CmpOp::Neq, from: R0, value: loopback(ipv6) },
        Expr::Meta { key: MetaKey::L4Proto, to: R0 },
        Expr::destination_port(Register(1)),
        Expr::MapLookup { map: name("hostports", ipv6).into(), from: R0, to: Register(8) },
        dnat(ipv6),
    ]);
    exprs
}

fn loopback(ipv6: bool) -> Vec<u8> {
    if ipv6 { std::net::Ipv6Addr::LOCALHOST.octets().to_vec() } else { vec![127, 0, 0, 0] }
}

fn loopback_mask(ipv6: bool) -> Vec<u8> {
    if ipv6 { vec![255; 16] } else { vec![255, 0, 0, 0] }
}

/// A pod that reaches itself by its host port.
fn hairpin(ipv6: bool) -> Vec<Expr> {
    let next = if ipv6 { 4 } else { 1 };
    let mut exprs = of_family(ipv6);
    exprs.extend([
        Expr::Ct { key: CtKey::Status, to: R0 },
        Expr::Bitwise { from: R0, to: R0, mask: 32u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        Expr::cmp_u32(CmpOp::Neq, R0, 0),
        Expr::source_address(ipv6, R0),
        Expr::destination_address(ipv6, Register(next)),
        Expr::Lookup { set: name("hostport-pods", ipv6).into(), from: R0, negate: false },
        Expr::Masquerade { fully_random: true },
    ]);
    exprs
}

fn network(net: &IpNet, source: bool, op: CmpOp) -> Vec<Expr> {
    let ipv6 = net.addr().is_ipv6();
    let load = if source { Expr::source_address(ipv6, R0) } else { Expr::destination_address(ipv6, R0) };
    let mask = Expr::address_bytes(&net.netmask());
    let xor = vec![0; mask.len()];
    let value = Expr::address_bytes(&net.network());
    vec![load, Expr::Bitwise { from: R0, to: R0, mask, xor }, Expr::Cmp { op, from: R0, value }]
}

/// From a pod of this node to anything but pods: with the node's address.
fn leaves_cluster(cidr: &IpNet, config: &Config) -> Vec<Expr> {
    let ipv6 = cidr.addr().is_ipv6();
    let mut exprs = of_family(ipv6);
    exprs.extend(network(cidr, true, CmpOp::Eq));
    let multicast: IpNet = if ipv6 {
        ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8).into()
    } else {
        ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0), 4).into()
    };
    let inside = config.cluster_pod_cidrs.iter().filter(|net| net.addr().is_ipv6() == ipv6);
    for net in inside.chain([&multicast]) {
        exprs.extend(network(net, false, CmpOp::Neq));
    }
    exprs.push(Expr::Masquerade { fully_random: true });
    exprs
}
