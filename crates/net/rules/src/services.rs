//! One Service port after the other: its chains and its elements.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use skiff_nft::{Chain, CmpOp, Expr, Field, Key, MetaKey, NatKind, Register, Ruleset, Set, Value, Verdict};

use crate::skeleton::{R0, address, in_network, local_source, mark_masquerade, named, skeleton};
use crate::{Endpoint, NodeFacts, Service, ServicePort, Slice, Usable, usable};

/// The whole ruleset. Services that share an address and port (which the API prevents) leave the later one's rules.
pub fn service_rules<'a>(services: impl IntoIterator<Item = &'a Service>, slices: impl IntoIterator<Item = &'a Slice>, node: &NodeFacts) -> Ruleset {
    let mut rules = skeleton(node);
    let mut by_service: BTreeMap<(&str, &str), Vec<&Slice>> = BTreeMap::new();
    for slice in slices {
        by_service.entry((&slice.namespace, &slice.service)).or_default().push(slice);
    }
    for service in services {
        let slices = by_service.get(&(service.namespace.as_str(), service.name.as_str())).map_or(&[][..], Vec::as_slice);
        if service.cluster_ips.iter().any(|ip| node.local_ips.contains(ip)) {
            continue;
        }
        for port in &service.ports {
            for ipv6 in [false, true] {
                let endpoints = endpoints_of(slices, port, ipv6);
                let usable = usable(&endpoints, service, node);
                PortRules { service, port, ipv6, node, usable, rules: &mut rules }.write();
            }
        }
    }
    rules
}

/// Node ports that TCP connections to 127.0.0.1 may ask for, and the Service addresses that they mean.
pub fn local_node_ports<'a>(services: impl IntoIterator<Item = &'a Service>) -> BTreeMap<u16, SocketAddr> {
    const TCP: u8 = 6;
    let of = |service: &'a Service| {
        let ip = service.cluster_ips.iter().find(|ip| ip.is_ipv4()).copied();
        let ports = service.ports.iter().filter(|port| port.node_port != 0 && port.protocol == TCP);
        ip.into_iter().flat_map(move |ip| ports.clone().map(move |port| (port.node_port, SocketAddr::new(ip, port.port))))
    };
    services.into_iter().flat_map(of).collect()
}

fn endpoints_of<'a>(slices: &[&'a Slice], port: &ServicePort, ipv6: bool) -> Vec<(&'a Endpoint, u16)> {
    let mut found = Vec::new();
    for slice in slices {
        let matching = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
        for slice_port in matching {
            let endpoints = slice.endpoints.iter().filter(|e| e.address.is_ipv6() == ipv6);
            found.extend(endpoints.map(|endpoint| (endpoint, slice_port.port)));
        }
    }
    found
}

struct PortRules<'a> {
    service: &'a Service,
    port: &'a ServicePort,
    ipv6: bool,
    node: &'a NodeFacts,
    usable: Usable,
    rules: &'a mut Ruleset,
}

fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.into())
}

impl PortRules<'_> {
    fn chain(&self, kind: &str) -> String {
        let protocol = match self.port.protocol {
            17 => "udp",
            132 => "sctp",
            _ => "tcp",
        };
        let family = if self.ipv6 { 6 } else { 4 };
        format!("{kind}{family}/{}/{}/{protocol}/{}", self.service.namespace, self.service.name, self.port.name)
    }

    fn of_family(&self, ips: &[IpAddr]) -> Vec<IpAddr> {
        ips.iter().filter(|ip| ip.is_ipv6() == self.ipv6).copied().collect()
    }

    fn insert(&mut self, map: &str, ip: Option<IpAddr>, port: u16, verdict: Verdict) {
        let key = ip.map_or_else(Key::new, |ip| Key::new().ip(ip)).proto(self.port.protocol).port(port);
        self.rules.insert(&named(map, self.ipv6), key, Value::Verdict(verdict));
    }

    fn write(&mut self) {
        let cluster_ips = self.of_family(&self.service.cluster_ips);
        if cluster_ips.is_empty() {
            return;
        }
        let external = self.of_family(&self.service.external_ips);
        let balancers = self.of_family(&self.service.load_balancer_ips);
        let externally = self.port.node_port != 0 || !external.is_empty() || !balancers.is_empty();
        self.hairpins();
        self.policy_chains(externally);

        let (internal_kind, internal_ends) = match self.service.internal_local {
            true => ("local", !self.usable.local.is_empty()),
            false => ("cluster", self.usable.any),
        };
        for ip in cluster_ips {
            self.rules.insert(&named("cluster-ips", self.ipv6), Key::new().ip(ip), Value::None);
            match internal_ends {
                true => self.insert("service-ips", Some(ip), self.port.port, goto(&self.chain(internal_kind))),
                false => self.insert("no-endpoint-services", Some(ip), self.port.port, self.refusal()),
            }
        }
        if externally {
            self.externals(&external, &balancers);
        }
    }

    /// No endpoint anywhere is refused; none on this node, where only those count, is dropped.
    fn refusal(&self) -> Verdict {
        if self.usable.any { Verdict::Drop } else { goto("reject") }
    }

    fn externals(&mut self, external: &[IpAddr], balancers: &[IpAddr]) {
        let ends = if self.service.external_local { !self.usable.local.is_empty() } else { self.usable.any };
        let chain = self.chain("external");
        if self.usable.any {
            let body = self.external_chain(ends);
            self.rules.chains.insert(chain.as_str().into(), body);
        }
        for ip in external.iter().chain(balancers) {
            if self.usable.any {
                self.insert("service-ips", Some(*ip), self.port.port, goto(&chain));
            }
            if !ends {
                self.insert("no-endpoint-services", Some(*ip), self.port.port, self.refusal());
            }
        }
        if self.port.node_port != 0 {
            if self.usable.any {
                self.insert("service-nodeports", None, self.port.node_port, goto(&chain));
            }
            if !ends {
                self.insert("no-endpoint-nodeports", None, self.port.node_port, self.refusal());
            }
        }
        self.firewall(balancers);
    }

    fn external_chain(&self, ends: bool) -> Chain {
        let mark = mark_masquerade(self.node.masquerade_bit);
        if !self.service.external_local {
            // The endpoint may be on another node.
            return Chain::default().rule(mark).rule(vec![Expr::Verdict(goto(&self.chain("cluster")))]);
        }
        // Traffic that starts on this node behaves as if it had gone out and come back: any endpoint will do.
        let mut chain = Chain::default();
        let to_cluster = Expr::Verdict(goto(&self.chain("cluster")));
        for cidr in self.node.pod_cidrs.iter().filter(|net| net.addr().is_ipv6() == self.ipv6) {
            chain = chain.rule([in_network(cidr, true, CmpOp::Eq), vec![to_cluster.clone()]].concat());
        }
        chain = chain.rule([local_source(), mark].concat()).rule([local_source(), vec![to_cluster]].concat());
        match ends {
            true => chain.rule(vec![Expr::Verdict(goto(&self.chain("local")))]),
            false => chain,
        }
    }

    /// loadBalancerSourceRanges: who is in none of them is dropped.
    fn firewall(&mut self, balancers: &[IpAddr]) {
        if self.service.source_ranges.is_empty() || balancers.is_empty() {
            return;
        }
        let mut ranges: Vec<_> = self.service.source_ranges.iter().filter(|net| net.addr().is_ipv6() == self.ipv6).copied().collect();
        // This node's own requests may carry the balancer's address as their source.
        if ranges.iter().any(|range| self.node.node_ips.iter().any(|ip| range.contains(ip))) {
            ranges.extend(balancers.iter().map(|ip| ipnet::IpNet::from(*ip)));
        }
        let chain = ranges
            .iter()
            .fold(Chain::default(), |chain, range| chain.rule([in_network(range, true, CmpOp::Eq), vec![Expr::Verdict(Verdict::Return)]].concat()));
        let name = self.chain("firewall");
        self.rules.chains.insert(name.as_str().into(), chain.rule(vec![Expr::Verdict(Verdict::Drop)]));
        for ip in balancers {
            self.insert("firewall-ips", Some(*ip), self.port.port, goto(&name));
        }
    }

    fn hairpins(&mut self) {
        let set = named("hairpin-connections", self.ipv6);
        for (ip, port) in &self.usable.on_this_node {
            let key = Key::new().ip(*ip).ip(*ip).proto(self.port.protocol).port(*port);
            self.rules.insert(&set, key, Value::None);
        }
    }

    fn policy_chains(&mut self, externally: bool) {
        let service = self.service;
        let cluster = !service.internal_local || externally;
        let local = service.internal_local || (service.external_local && externally);
        for (wanted, kind, endpoints) in [(cluster, "cluster", self.usable.cluster.clone()), (local, "local", self.usable.local.clone())] {
            if wanted && !endpoints.is_empty() {
                match service.affinity {
                    None => self.balance(kind, &endpoints),
                    Some(seconds) => self.balance_sticky(kind, &endpoints, seconds),
                }
            } else if wanted && self.usable.any {
                // Named by the external chain, though nothing here can answer.
                self.rules.chains.insert(self.chain(kind).as_str().into(), Chain::default());
            }
        }
    }

    fn of_protocol(&self) -> Vec<Expr> {
        let value = vec![self.port.protocol];
        vec![Expr::Meta { key: MetaKey::L4Proto, to: R0 }, Expr::Cmp { op: CmpOp::Eq, from: R0, value }]
    }

    fn port_register(&self) -> Register {
        Register(if self.ipv6 { 8 } else { 5 })
    }

    /// Destination NAT to what is in registers 4 upwards: an address, then a port.
    fn dnat(&self) -> Expr {
        let port = Some(self.port_register());
        Expr::Nat { kind: NatKind::Destination, ipv6: self.ipv6, address: Some(Register(4)), port }
    }

    fn to_one(&self, (ip, port): (IpAddr, u16)) -> Vec<Expr> {
        let mut exprs = self.of_protocol();
        exprs.push(Expr::Immediate { to: Register(4), value: Expr::address_bytes(&ip) });
        exprs.push(Expr::Immediate { to: self.port_register(), value: port.to_be_bytes().to_vec() });
        exprs.push(self.dnat());
        exprs
    }

    fn balance(&mut self, kind: &str, endpoints: &BTreeSet<(IpAddr, u16)>) {
        let name = self.chain(kind);
        let rule = match endpoints.iter().next() {
            Some(only) if endpoints.len() == 1 => self.to_one(*only),
            _ => {
                let mut map = Set::map(&[Field::Index], &[address(self.ipv6), Field::Port]);
                for (index, (ip, port)) in endpoints.iter().enumerate() {
                    map.elements.insert(Key::new().index(index as u32), Value::Data(Key::new().ip(*ip).port(*port)));
                }
                let map_name = self.chain(&format!("{kind}-endpoints"));
                self.rules.sets.insert(map_name.as_str().into(), map);
                let mut exprs = self.of_protocol();
                exprs.push(Expr::Random { modulus: endpoints.len() as u32, to: R0 });
                exprs.push(Expr::MapLookup { map: map_name.as_str().into(), from: R0, to: Register(4) });
                exprs.push(self.dnat());
                exprs
            }
        };
        self.rules.chains.insert(name.as_str().into(), Chain::default().rule(rule));
    }

    /// Session affinity: a set of clients for each endpoint, asked before the dice.
    fn balance_sticky(&mut self, kind: &str, endpoints: &BTreeSet<(IpAddr, u16)>, seconds: u32) {
        let mut chain = Chain::default();
        let mut dice = Set::verdict_map(&[Field::Index]);
        for (index, (ip, port)) in endpoints.iter().enumerate() {
            let end = format!("{}/{ip}/{port}", self.chain("endpoint"));
            let clients = format!("{}/{ip}/{port}", self.chain("affinity"));
            let shape = Set::dynamic(&[address(self.ipv6)], Duration::from_secs(u64::from(seconds)));
            self.rules.sets.insert(clients.as_str().into(), shape);
            let remember = vec![Expr::source_address(self.ipv6, R0), Expr::Update { set: clients.as_str().into(), from: R0 }];
            let body = Chain::default().rule(remember).rule(self.to_one((*ip, *port)));
            self.rules.chains.insert(end.as_str().into(), body);
            chain = chain.rule(vec![
                Expr::source_address(self.ipv6, R0),
                Expr::Lookup { set: clients.as_str().into(), from: R0, negate: false },
                Expr::Verdict(goto(&end)),
            ]);
            dice.elements.insert(Key::new().index(index as u32), Value::Verdict(goto(&end)));
        }
        let dice_name = self.chain(&format!("{kind}-dice"));
        self.rules.sets.insert(dice_name.as_str().into(), dice);
        chain = chain.rule(vec![Expr::Random { modulus: endpoints.len() as u32, to: R0 }, Expr::VerdictLookup { map: dice_name.as_str().into(), from: R0 }]);
        self.rules.chains.insert(self.chain(kind).as_str().into(), chain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_node_ports_are_tcp_and_ipv4() {
        let port = |protocol, port, node_port| ServicePort { protocol, port, node_port, ..ServicePort::default() };
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let web = Service {
            cluster_ips: vec![ip("fd00::1"), ip("10.43.0.9")],
            ports: vec![port(6, 80, 30080), port(17, 53, 30053), port(6, 81, 0)],
            ..Service::default()
        };
        let six = Service { cluster_ips: vec![ip("fd00::2")], ports: vec![port(6, 80, 30081)], ..Service::default() };
        let found = local_node_ports([&web, &six]);
        assert_eq!(found, BTreeMap::from([(30080, SocketAddr::new(ip("10.43.0.9"), 80))]));
    }
}
