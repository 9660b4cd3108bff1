//! Endpoints and EndpointSlices.
use crate::{field::Field, ip, labels, names, same::same, service::PROTOCOLS};

pub(crate) fn endpoints(v: &Field<'_>) {
    for s in v.at("subsets").items() {
        subset(&s);
    }
}

/// What is wrong already may stay as it is.
pub(crate) fn endpoints_update(new: &Field<'_>, old: &Field<'_>) {
    if !same(new.at("subsets").value(), old.at("subsets").value()) {
        endpoints(new);
    }
}

fn subset(s: &Field<'_>) {
    if s.at("addresses").list().is_empty() && s.at("notReadyAddresses").list().is_empty() {
        s.required("must specify `addresses` or `notReadyAddresses`");
    }
    for a in s.at("addresses").items().chain(s.at("notReadyAddresses").items()) {
        address(&a);
    }
    let many = s.at("ports").len() > 1;
    for p in s.at("ports").items() {
        let name = p.at("name");
        if many && name.str().is_empty() {
            name.required("");
        } else if !name.str().is_empty() {
            name.check(names::dns1123_label);
        }
        p.at("port").in_range(1, 65535);
        p.at("protocol").one_of(&PROTOCOLS);
        if p.at("appProtocol").exists() {
            p.at("appProtocol").check(names::qualified_name);
        }
    }
}

fn address(a: &Field<'_>) {
    let f = a.at("ip");
    ip::legacy(&f, f.str(), &[]);
    if !a.at("hostname").str().is_empty() {
        a.at("hostname").check(names::dns1123_label);
    }
    if a.at("nodeName").exists() {
        a.at("nodeName").check(names::dns1123_subdomain);
    }
    ip::endpoint(&f, f.str());
}

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20000;
const MAX_TOPOLOGY: usize = 16;
const MAX_HINTS: usize = 8;

pub(crate) fn slice(v: &Field<'_>) {
    slice_ports(v);
    slice_endpoints(v);
    let kind = v.at("addressType");
    kind.one_of(&ADDRESS_TYPES);
    counted_addresses(v);
}

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];

/// How many addresses an endpoint may have is a declared rule, which is told last.
fn counted_addresses(v: &Field<'_>) {
    for addresses in v.at("endpoints").items().take(MAX_ENDPOINTS).map(|e| e.at("addresses")) {
        if addresses.list().is_empty() {
            addresses.required("");
        } else if addresses.len() > MAX_ADDRESSES {
            addresses.too_many(addresses.len(), MAX_ADDRESSES);
        }
    }
}

pub(crate) fn slice_update(new: &Field<'_>, old: &Field<'_>) {
    let kind = new.at("addressType");
    if !kind.str().is_empty() {
        kind.if_any_of(&ADDRESS_TYPES);
    }
    slice_ports(new);
    let changed = !same(new.at("endpoints").value(), old.at("endpoints").value());
    if changed {
        slice_endpoints(new);
    }
    if kind.str() != old.at("addressType").str() {
        if kind.str().is_empty() {
            kind.required("");
        }
        kind.invalid(&skiff_json::Value::Null, "field is immutable");
    }
    if changed {
        counted_addresses(new);
    }
}

fn slice_ports(v: &Field<'_>) {
    let ports = v.at("ports");
    if ports.len() > MAX_PORTS {
        return ports.too_many(ports.len(), MAX_PORTS);
    }
    let mut seen = std::collections::HashSet::new();
    for p in ports.items() {
        let name = p.at("name");
        if !name.str().is_empty() {
            name.check(names::dns1123_label);
        }
        if !seen.insert(name.str()) {
            name.duplicate(name.str());
        }
        if !p.at("protocol").exists() {
            p.at("protocol").required("");
        } else {
            p.at("protocol").if_any_of(&PROTOCOLS);
        }
        if p.at("appProtocol").exists() {
            p.at("appProtocol").check(names::qualified_name);
        }
    }
}

fn slice_endpoints(v: &Field<'_>) {
    let list = v.at("endpoints");
    if list.len() > MAX_ENDPOINTS {
        return list.too_many(list.len(), MAX_ENDPOINTS);
    }
    for e in list.items() {
        let addresses = e.at("addresses");
        for a in addresses.items() {
            slice_address(&addresses, &a, v.at("addressType").str());
        }
        if e.at("nodeName").exists() {
            e.at("nodeName").check(names::dns1123_subdomain);
        }
        let topology = e.at("deprecatedTopology");
        if topology.len() > MAX_TOPOLOGY {
            topology.too_many(topology.len(), MAX_TOPOLOGY);
        }
        labels::labels(&topology);
        if e.at("hostname").exists() {
            e.at("hostname").check(names::dns1123_label);
        }
        hints(&e.at("hints").at("forZones"), names::label_value);
        hints(&e.at("hints").at("forNodes"), names::dns1123_subdomain);
    }
}

fn slice_address(list: &Field<'_>, a: &Field<'_>, kind: &str) {
    let mark = a.mark();
    match kind {
        "IPv4" => ip::legacy(a, a.str(), &[]),
        "IPv6" => ip::canonical(a, a.str()),
        "FQDN" => return domain(a),
        _ => return,
    }
    if a.clean_since(mark) {
        if (kind == "IPv6") != ip::is_v6(a.str()) {
            list.invalid(a.str(), &format!("must be an {kind} address"));
        }
        ip::endpoint(a, a.str());
    }
}

fn domain(a: &Field<'_>) {
    if a.str().is_empty() {
        return a.required("");
    }
    let name = a.str().strip_suffix('.').unwrap_or(a.str());
    let messages = names::dns1123_subdomain(name);
    if !messages.is_empty() {
        return a.invalid(name, &messages.join(","));
    }
    if !name.contains('.') {
        return a.invalid(name, "should be a domain with at least two segments separated by dots");
    }
    for label in name.split('.') {
        let messages = names::dns1123_label(label);
        if !messages.is_empty() {
            return a.invalid(label, &messages.join(","));
        }
    }
}

fn hints(list: &Field<'_>, check: fn(&str) -> names::Messages) {
    if list.len() > MAX_HINTS {
        return list.too_many(list.len(), MAX_HINTS);
    }
    let mut seen = Vec::new();
    for n in list.items().map(|h| h.at("name")) {
        if seen.contains(&n.str()) {
            n.duplicate(n.str());
        } else {
            seen.push(n.str());
        }
        n.check(check);
    }
}
