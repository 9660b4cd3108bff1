//! A question to records, by the Kubernetes DNS specification 1.1. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::zone::Entry;
use crate::{DnsPort, Index};

/// Seconds.
const TTL: u32 = 5;

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Not below the zone: to be forwarded.
    NotOurs,
    NoSuchName(Box<Record>),
    /// The name is there, but not with this type.
    NoData(Box<Record>),
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// An ExternalName: the alias, whose target the server looks up.
    Alias {
        record: Box<Record>,
        target: Name,
    },
}

/// What a name below the zone has.
#[derive(Default)]
struct Found {
    addresses: Vec<IpAddr>,
    srv: Vec<(u16, Name, IpAddr)>,
    txt: Option<&'static str>,
}

pub fn answer(index: &Index, name: &Name, kind: RecordType) -> Answer {
    let labels: Vec<String> = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    if let Some(ip) = reverse_address(&labels) {
        return reverse(index, name, kind, ip);
    }
    let Some(split) = labels.len().checked_sub(index.labels.len()) else { return Answer::NotOurs };
    let (below, zone) = labels.split_at(split);
    if zone != index.labels {
        return Answer::NotOurs;
    }
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    if below.is_empty() {
        return apex(index, name, kind);
    }
    if let [service, namespace, "svc"] = below.as_slice()
        && let Some(target) = index.entry(namespace, service).and_then(|e| e.service.as_ref()?.external_name.as_ref())
    {
        return alias(index, name, target);
    }
    match find(index, &below) {
        None => Answer::NoSuchName(Box::new(soa(index))),
        Some(found) => records(index, name, kind, found),
    }
}

fn soa(index: &Index) -> Record {
    let sub = |label: &str| Name::from_ascii(format!("{label}.{}", index.zone)).unwrap_or_else(|_| index.zone.clone());
    let soa = SOA::new(sub("ns.dns"), sub("hostmaster"), index.serial, 7200, 1800, 86_400, TTL);
    Record::from_rdata(index.zone.clone(), TTL, RData::SOA(soa))
}

fn apex(index: &Index, name: &Name, kind: RecordType) -> Answer {
    let record = match kind {
        RecordType::SOA => soa(index),
        RecordType::NS => match Name::from_ascii(format!("ns.dns.{}", index.zone)) {
            Ok(server) => Record::from_rdata(name.clone(), TTL, RData::NS(NS(server))),
            Err(_) => return Answer::NoData(Box::new(soa(index))),
        },
        _ => return Answer::NoData(Box::new(soa(index))),
    };
    Answer::Records { answers: vec![record], additionals: Vec::new() }
}

fn alias(index: &Index, name: &Name, target: &str) -> Answer {
    match Name::from_ascii(format!("{}.", target.trim_end_matches('.'))) {
        Ok(target) => {
            let record = Record::from_rdata(name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
            Answer::Alias { record: Box::new(record), target }
        }
        Err(_) => Answer::NoData(Box::new(soa(index))),
    }
}

/// None: there is no such name. An empty find: it is there, as a branch or without records.
fn find(index: &Index, below: &[&str]) -> Option<Found> {
    match below {
        ["dns-version"] => Some(Found { txt: Some("1.1.0"), ..Found::default() }),
        ["svc"] | ["pod"] => Some(Found::default()),
        [namespace, "svc"] => index.services.get(*namespace).map(|_| Found::default()),
        [address, _, "pod"] => Some(Found { addresses: vec![dashed(address)?], ..Found::default() }),
        [_, "pod"] => Some(Found::default()),
        [service, namespace, "svc"] => service_records(index, namespace, service),
        [endpoint, service, namespace, "svc"] => below_service(index, namespace, service, endpoint),
        [port, protocol, service, namespace, "svc"] => {
            let found = ports_of(index, namespace, service, port.strip_prefix('_')?, protocol.strip_prefix('_')?);
            (!found.srv.is_empty()).then_some(found)
        }
        _ => None,
    }
}

fn dashed(label: &str) -> Option<IpAddr> {
    let v4 = label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
    v4.or_else(|_| label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6)).ok()
}

/// The Service, if it has addresses: a headless one without endpoints doesn't exist, as the field has it.
fn proxied<'a>(index: &'a Index, namespace: &str, service: &str) -> Option<(&'a Entry, bool)> {
    let entry = index.entry(namespace, service)?;
    let has_ip = !entry.service.as_ref()?.cluster_ips.is_empty();
    (has_ip || entry.endpoints().next().is_some()).then_some((entry, has_ip))
}

fn service_records(index: &Index, namespace: &str, service: &str) -> Option<Found> {
    let (entry, has_ip) = proxied(index, namespace, service)?;
    let addresses = match (has_ip, &entry.service) {
        (true, Some(service)) => service.cluster_ips.clone(),
        _ => entry.endpoints().map(|(e, _)| e.address).collect(),
    };
    Some(Found { addresses, srv: srv(index, namespace, service, |_| true), txt: None })
}

fn below_service(index: &Index, namespace: &str, service: &str, label: &str) -> Option<Found> {
    let (entry, _) = proxied(index, namespace, service)?;
    if let Some(protocol) = label.strip_prefix('_') {
        // `_tcp.svc` is a branch when a port has that protocol.
        return (!srv(index, namespace, service, |p| p.protocol == protocol).is_empty()).then(Found::default);
    }
    let addresses: Vec<IpAddr> = entry.endpoints().filter(|(e, _)| e.label() == label).map(|(e, _)| e.address).collect();
    (!addresses.is_empty()).then(|| Found { addresses, ..Found::default() })
}

fn ports_of(index: &Index, namespace: &str, service: &str, port: &str, protocol: &str) -> Found {
    Found { srv: srv(index, namespace, service, |p| p.name == port && p.protocol == protocol), ..Found::default() }
}

fn srv(index: &Index, namespace: &str, service: &str, wanted: impl Fn(&DnsPort) -> bool) -> Vec<(u16, Name, IpAddr)> {
    let Some((entry, has_ip)) = proxied(index, namespace, service) else { return Vec::new() };
    let target = |label: Option<String>| {
        let label = label.map(|l| format!("{l}.")).unwrap_or_default();
        Name::from_ascii(format!("{label}{service}.{namespace}.svc.{}", index.zone)).ok()
    };
    let mut found = Vec::new();
    match (has_ip, &entry.service) {
        (true, Some(declared)) => {
            for port in declared.ports.iter().filter(|p| wanted(p)) {
                found.extend(declared.cluster_ips.iter().filter_map(|ip| Some((port.port, target(None)?, *ip))));
            }
        }
        _ => {
            for (endpoint, ports) in entry.endpoints() {
                let ports = ports.iter().filter(|p| wanted(p));
                found.extend(ports.filter_map(|p| Some((p.port, target(Some(endpoint.label()))?, endpoint.address))));
            }
        }
    }
    found
}

fn address_record(name: &Name, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(name.clone(), TTL, data)
}

fn records(index: &Index, name: &Name, kind: RecordType, found: Found) -> Answer {
    let mut answers = Vec::new();
    let mut additionals: Vec<Record> = Vec::new();
    let of_kind = |ip: &&IpAddr| match kind {
        RecordType::A => ip.is_ipv4(),
        RecordType::AAAA => ip.is_ipv6(),
        other => other == RecordType::ANY,
    };
    answers.extend(found.addresses.iter().filter(of_kind).map(|ip| address_record(name, *ip)));
    if kind == RecordType::SRV {
        let mut targets: Vec<(u16, &Name)> = found.srv.iter().map(|(port, target, _)| (*port, target)).collect();
        targets.dedup();
        let weight = (100 / targets.len().max(1)) as u16;
        let one = |(port, target): (u16, &Name)| RData::SRV(SRV::new(0, weight.max(1), port, target.clone()));
        answers.extend(targets.into_iter().map(one).map(|data| Record::from_rdata(name.clone(), TTL, data)));
        additionals.extend(found.srv.iter().map(|(_, target, ip)| address_record(target, *ip)));
        additionals.dedup();
    }
    if let Some(text) = found.txt.filter(|_| kind == RecordType::TXT) {
        answers.push(Record::from_rdata(name.clone(), TTL, RData::TXT(TXT::new(vec![text.to_owned()]))));
    }
    match answers.is_empty() {
        true => Answer::NoData(Box::new(soa(index))),
        false => Answer::Records { answers, additionals },
    }
}

fn reverse_address(labels: &[String]) -> Option<IpAddr> {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match labels.as_slice() {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}").parse().ok(),
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let hex: String = nibbles.iter().rev().copied().collect();
            (hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok()).flatten().map(|n| Ipv6Addr::from(n).into())
        }
        _ => None,
    }
}

/// Addresses that the cluster doesn't know may be known upstream.
fn reverse(index: &Index, name: &Name, kind: RecordType, ip: IpAddr) -> Answer {
    let Some(names) = index.reverse.get(&ip) else { return Answer::NotOurs };
    if kind != RecordType::PTR {
        return Answer::NoData(Box::new(soa(index)));
    }
    let answers = names.iter().filter_map(|(namespace, service, label)| {
        let label = label.as_ref().map(|l| format!("{l}.")).unwrap_or_default();
        let target = Name::from_ascii(format!("{label}{service}.{namespace}.svc.{}", index.zone)).ok()?;
        Some(Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target))))
    });
    Answer::Records { answers: answers.collect(), additionals: Vec::new() }
}
