//! What is there whatever the Services are: base chains, the maps that dispatch, masquerading, rejecting.
//!
//! One inet table serves both families; each family has its own maps, because a key holds an address.

use std::net::IpAddr;

use ipnet::IpNet;
use skiff_nft::{Chain, ChainType, CmpOp, CtKey, Expr, Family, Fib, Field, Hook, MetaKey, Register, Reject, Ruleset, Set, Verdict};

use crate::NodeFacts;

pub(crate) const R0: Register = Register(0);

pub(crate) fn named(name: &str, ipv6: bool) -> String {
    format!("{name}-{}", if ipv6 { 6 } else { 4 })
}

pub(crate) fn address(ipv6: bool) -> Field {
    if ipv6 { Field::Ipv6 } else { Field::Ipv4 }
}

/// The register after an address that starts at register 0.
fn after_address(ipv6: bool) -> u8 {
    if ipv6 { 4 } else { 1 }
}

pub(crate) fn of_family(ipv6: bool) -> Vec<Expr> {
    let number = if ipv6 { 10 } else { 2 };
    vec![Expr::Meta { key: MetaKey::Family, to: R0 }, Expr::Cmp { op: CmpOp::Eq, from: R0, value: vec![number] }]
}

fn new_connection() -> Vec<Expr> {
    let mask = 8u32.to_ne_bytes().to_vec();
    vec![Expr::Ct { key: CtKey::State, to: R0 }, Expr::Bitwise { from: R0, to: R0, mask, xor: vec![0; 4] }, Expr::cmp_u32(CmpOp::Neq, R0, 0)]
}

/// Marks the packet to be masqueraded on its way out.
pub(crate) fn mark_masquerade(bit: u32) -> Vec<Expr> {
    vec![
        Expr::Meta { key: MetaKey::Mark, to: R0 },
        Expr::Bitwise { from: R0, to: R0, mask: (!bit).to_ne_bytes().to_vec(), xor: bit.to_ne_bytes().to_vec() },
        Expr::SetMeta { key: MetaKey::Mark, from: R0 },
    ]
}

/// Matches a source or destination (in or not in) a network.
pub(crate) fn in_network(net: &IpNet, source: bool, op: CmpOp) -> Vec<Expr> {
    let ipv6 = matches!(net, IpNet::V6(_));
    let load = if source { Expr::source_address(ipv6, R0) } else { Expr::destination_address(ipv6, R0) };
    let mask = Expr::address_bytes(&net.netmask());
    let zero = vec![0; mask.len()];
    vec![load, Expr::Bitwise { from: R0, to: R0, mask, xor: zero }, Expr::Cmp { op, from: R0, value: Expr::address_bytes(&net.network()) }]
}

pub(crate) fn local_source() -> Vec<Expr> {
    vec![Expr::FibType { of: Fib::Source, to: R0 }, Expr::cmp_u32(CmpOp::Eq, R0, 2)]
}

fn by_address(ipv6: bool, map: &str) -> Vec<Expr> {
    let next = after_address(ipv6);
    vec![
        Expr::destination_address(ipv6, R0),
        Expr::Meta { key: MetaKey::L4Proto, to: Register(next) },
        Expr::destination_port(Register(next + 1)),
        Expr::VerdictLookup { map: named(map, ipv6).as_str().into(), from: R0 },
    ]
}

/// For traffic to one of the node's own addresses, loopback excepted.
fn by_node_port(ipv6: bool, map: &str) -> Vec<Expr> {
    let loopback: IpNet = if ipv6 { IpNet::from(IpAddr::from(std::net::Ipv6Addr::LOCALHOST)) } else { loopback_v4() };
    let mut exprs = vec![Expr::FibType { of: Fib::Destination, to: R0 }, Expr::cmp_u32(CmpOp::Eq, R0, 2)];
    exprs.extend(in_network(&loopback, false, CmpOp::Neq));
    exprs.extend([
        Expr::Meta { key: MetaKey::L4Proto, to: R0 },
        Expr::destination_port(Register(1)),
        Expr::VerdictLookup { map: named(map, ipv6).as_str().into(), from: R0 },
    ]);
    exprs
}

fn loopback_v4() -> IpNet {
    ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8).into()
}

fn jump(mut exprs: Vec<Expr>, chain: &str) -> Vec<Expr> {
    exprs.push(Expr::Verdict(Verdict::Jump(chain.into())));
    exprs
}

pub(crate) fn skeleton(node: &NodeFacts) -> Ruleset {
    let mut rules = Ruleset::new(Family::Inet, node.table.as_str());
    for ipv6 in [false, true] {
        let vip = [address(ipv6), Field::Proto, Field::Port];
        let port = [Field::Proto, Field::Port];
        for map in ["service-ips", "no-endpoint-services", "firewall-ips"] {
            rules.set(&named(map, ipv6), || Set::verdict_map(&vip));
        }
        for map in ["service-nodeports", "no-endpoint-nodeports"] {
            rules.set(&named(map, ipv6), || Set::verdict_map(&port));
        }
        rules.set(&named("cluster-ips", ipv6), || Set::of(&[address(ipv6)]));
        rules.set(&named("hairpin-connections", ipv6), || Set::of(&[address(ipv6), address(ipv6), Field::Proto, Field::Port]));
    }
    base_chains(&mut rules);
    let mut add = |name: &str, chain: Chain| rules.chains.insert(name.into(), chain);
    add("reject", Chain::default().rule(vec![Expr::Reject(Reject::PortUnreachable)]));
    let per_family = |make: &dyn Fn(bool) -> Vec<Vec<Expr>>| {
        [false, true]
            .into_iter()
            .fold(Chain::default(), |chain, ipv6| make(ipv6).into_iter().fold(chain, |chain, exprs| chain.rule([of_family(ipv6), exprs].concat())))
    };
    add("firewall-check", per_family(&|ipv6| vec![by_address(ipv6, "firewall-ips")]));
    add("service-endpoints-check", per_family(&|ipv6| vec![by_address(ipv6, "no-endpoint-services")]));
    add("nodeport-endpoints-check", per_family(&|ipv6| vec![by_node_port(ipv6, "no-endpoint-nodeports")]));
    add("cluster-ips-check", per_family(&|ipv6| cluster_ips_check(ipv6, node)));
    add("services", per_family(&|ipv6| services(ipv6, node)));
    add("masquerading", masquerading(node));
    rules
}

fn base_chains(rules: &mut Ruleset) {
    let mut add = |name: &str, chain: Chain| rules.chains.insert(name.into(), chain);
    let checks = |hook, targets: &[&str]| {
        let base = Chain::base(ChainType::Filter, hook, 0);
        targets.iter().fold(base, |chain, target| chain.rule(jump(new_connection(), target)))
    };
    // Before destination NAT, where packets still carry the load balancer's address.
    for (name, hook) in [("filter-prerouting-pre-dnat", Hook::Prerouting), ("filter-output-pre-dnat", Hook::Output)] {
        add(name, Chain::base(ChainType::Filter, hook, -110).rule(jump(new_connection(), "firewall-check")));
    }
    add("filter-input", checks(Hook::Input, &["nodeport-endpoints-check", "service-endpoints-check"]));
    add("filter-forward", checks(Hook::Forward, &["service-endpoints-check", "cluster-ips-check"]));
    add("filter-output", checks(Hook::Output, &["service-endpoints-check", "cluster-ips-check"]));
    add("nat-prerouting", Chain::base(ChainType::Nat, Hook::Prerouting, -100).rule(jump(vec![], "services")));
    add("nat-output", Chain::base(ChainType::Nat, Hook::Output, -100).rule(jump(vec![], "services")));
    add("nat-postrouting", Chain::base(ChainType::Nat, Hook::Postrouting, 100).rule(jump(vec![], "masquerading")));
}

fn to_cluster_ip(ipv6: bool) -> Vec<Expr> {
    let set = named("cluster-ips", ipv6).as_str().into();
    vec![Expr::destination_address(ipv6, R0), Expr::Lookup { set, from: R0, negate: false }]
}

/// Ports that a cluster IP doesn't have are refused, cluster IPs that nobody has are dropped.
fn cluster_ips_check(ipv6: bool, node: &NodeFacts) -> Vec<Vec<Expr>> {
    let mut rules = Vec::new();
    for local in node.local_ips.iter().filter(|ip| ip.is_ipv6() == ipv6) {
        let mut exprs = in_network(&IpNet::from(*local), false, CmpOp::Eq);
        exprs.push(Expr::Verdict(Verdict::Return));
        rules.push(exprs);
    }
    let mut unknown_port = to_cluster_ip(ipv6);
    unknown_port.push(Expr::Reject(Reject::PortUnreachable));
    rules.push(unknown_port);
    for cidr in node.service_cidrs.iter().filter(|net| net.addr().is_ipv6() == ipv6) {
        let mut exprs = in_network(cidr, false, CmpOp::Eq);
        exprs.push(Expr::Verdict(Verdict::Drop));
        rules.push(exprs);
    }
    rules
}

fn services(ipv6: bool, node: &NodeFacts) -> Vec<Vec<Expr>> {
    let mut rules = Vec::new();
    let pods: Vec<&IpNet> = node.pod_cidrs.iter().filter(|net| net.addr().is_ipv6() == ipv6).collect();
    if !pods.is_empty() {
        // From outside the cluster: the endpoint may be elsewhere, so answers must come back through here.
        let mut exprs = to_cluster_ip(ipv6);
        exprs.extend(pods.iter().flat_map(|cidr| in_network(cidr, true, CmpOp::Neq)));
        exprs.extend(mark_masquerade(node.masquerade_bit));
        rules.push(exprs);
    }
    rules.push(by_address(ipv6, "service-ips"));
    rules.push(by_node_port(ipv6, "service-nodeports"));
    rules
}

fn masquerading(node: &NodeFacts) -> Chain {
    let bit = node.masquerade_bit;
    let mut marked = vec![
        Expr::Meta { key: MetaKey::Mark, to: R0 },
        Expr::Bitwise { from: R0, to: R0, mask: bit.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        Expr::cmp_u32(CmpOp::Neq, R0, 0),
        Expr::Meta { key: MetaKey::Mark, to: R0 },
        Expr::Bitwise { from: R0, to: R0, mask: (!bit).to_ne_bytes().to_vec(), xor: vec![0; 4] },
        Expr::SetMeta { key: MetaKey::Mark, from: R0 },
    ];
    marked.push(Expr::Masquerade { fully_random: true });
    [false, true].into_iter().fold(Chain::default().rule(marked), |chain, ipv6| chain.rule(hairpin(ipv6)))
}

/// A pod that reaches itself through a Service would get answers from its own address: masquerade.
fn hairpin(ipv6: bool) -> Vec<Expr> {
    let width = after_address(ipv6);
    let mut exprs = of_family(ipv6);
    exprs.extend([
        Expr::Ct { key: CtKey::Status, to: R0 },
        Expr::Bitwise { from: R0, to: R0, mask: 32u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        Expr::cmp_u32(CmpOp::Neq, R0, 0),
        Expr::source_address(ipv6, R0),
        Expr::destination_address(ipv6, Register(width)),
        Expr::Meta { key: MetaKey::L4Proto, to: Register(2 * width) },
        Expr::destination_port(Register(2 * width + 1)),
        Expr::Lookup { set: named("hairpin-connections", ipv6).as_str().into(), from: R0, negate: false },
        Expr::Masquerade { fully_random: true },
    ]);
    exprs
}
