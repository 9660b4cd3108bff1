//! Ports of a Pod's containers that get in each other's way.
use crate::field::Field;
use std::collections::HashMap;

pub(super) fn warn(containers: &[Field<'_>]) {
    let ports: Vec<Field<'_>> = containers.iter().flat_map(|c| c.at("ports").items()).collect();
    let mut by_number: HashMap<(i64, &str), Vec<&Field<'_>>> = HashMap::new();
    for p in &ports {
        let (host_ip, host_port) = host(p);
        if !host_ip.is_empty() && host_port == 0 {
            p.warn(&format!("hostIP set without hostPort: {}", shown(p)));
        }
        let others = by_number.entry((p.inside("containerPort").int(), p.inside("protocol").str())).or_default();
        for o in others.iter() {
            if let Some(what) = clash(host(p), host(o)) {
                p.warn(&format!("{what} port definition with {}", o.path()));
            }
        }
        others.push(p);
    }
    let mut by_name: HashMap<&str, String> = HashMap::new();
    for p in ports.iter().filter(|p| !p.inside("name").str().is_empty()) {
        let name = p.inside("name").str();
        match by_name.get(name) {
            Some(other) => p.warn(&format!("duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}")),
            None => {
                by_name.insert(name, p.path());
            }
        }
    }
}

fn host<'a>(p: &Field<'a>) -> (&'a str, i64) {
    (p.inside("hostIP").str(), p.inside("hostPort").int())
}

fn clash((ip, port): (&str, i64), (other_ip, other_port): (&str, i64)) -> Option<&'static str> {
    if (ip, port) == (other_ip, other_port) {
        Some("duplicate")
    } else if port == 0 || other_port == 0 {
        Some("overlapping")
    } else {
        (port == other_port && ip.is_empty() != other_ip.is_empty()).then_some("dangerously ambiguous")
    }
}

/// As Go prints the struct.
fn shown(p: &Field<'_>) -> String {
    let (ip, port) = host(p);
    format!(
        "{{Name:{} HostPort:{port} ContainerPort:{} Protocol:{} HostIP:{ip}}}",
        p.inside("name").str(),
        p.inside("containerPort").int(),
        p.inside("protocol").str()
    )
}
