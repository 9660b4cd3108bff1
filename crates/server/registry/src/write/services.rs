//! Addresses and ports of Services, out of the cluster's ranges.
//!
//! What is taken is read from the store at start and kept in memory; a Service that fails to be written gives back what
//! it reserved. Single stack per family: the first range is the cluster's default family.
use crate::{
    registry::{Context, Registry},
    value,
};
use ipnet::IpNet;
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_meta::{Cause, Status};
use skiff_store::{ListQuery, Store};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

/// Where Services get addresses and ports.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// The service networks, the default family first; one or two.
    pub networks: Vec<IpNet>,
    /// First and last node port.
    pub ports: (u16, u16),
}

impl Default for Ranges {
    fn default() -> Self {
        Self { networks: vec![IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 43, 0, 0), 16))], ports: (30000, 32767) }
    }
}

#[derive(Default)]
struct Taken {
    addresses: HashSet<IpAddr>,
    /// Node ports by protocol and number.
    ports: HashSet<(String, u16)>,
}

pub(crate) struct Allocator {
    ranges: Ranges,
    taken: Arc<Mutex<Taken>>,
}

/// What a Service in the making took; given back when it is dropped before it is kept.
pub(crate) struct Reserved {
    taken: Option<Arc<Mutex<Taken>>>,
    addresses: Vec<IpAddr>,
    ports: Vec<(String, u16)>,
    /// What the Service had before and has no more.
    freed: (Vec<IpAddr>, Vec<(String, u16)>),
}

impl Reserved {
    fn nothing() -> Self {
        Self { taken: None, addresses: Vec::new(), ports: Vec::new(), freed: Default::default() }
    }
    pub fn keep(mut self) {
        if let Some(t) = self.taken.take() {
            let mut t = t.lock();
            for a in &self.freed.0 {
                t.addresses.remove(a);
            }
            for p in &self.freed.1 {
                t.ports.remove(p);
            }
        }
    }
}
impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(t) = self.taken.take() {
            let mut t = t.lock();
            for a in &self.addresses {
                t.addresses.remove(a);
            }
            for p in &self.ports {
                t.ports.remove(p);
            }
        }
    }
}

fn addresses(v: &Value) -> Vec<IpAddr> {
    value::list(v, "spec.clusterIPs").iter().filter_map(|a| a.as_str()?.parse().ok()).collect()
}
fn node_ports(v: &Value) -> Vec<(String, u16)> {
    let of = |p: &Value| u16::try_from(value::int(p, "nodePort")).ok().filter(|n| *n > 0).map(|n| (protocol(p), n));
    let mut all: Vec<_> = value::list(v, "spec.ports").iter().filter_map(of).collect();
    let health = value::int(v, "spec.healthCheckNodePort");
    if let Some(n) = u16::try_from(health).ok().filter(|n| *n > 0) {
        all.push(("TCP".into(), n));
    }
    all
}
fn protocol(port: &Value) -> String {
    match value::text(port, "protocol") {
        "" => "TCP".into(),
        p => p.to_owned(),
    }
}

impl Allocator {
    pub fn new(ranges: Ranges, store: &dyn Store) -> Self {
        let mut taken = Taken::default();
        for e in store.list(&ListQuery { prefix: "services/".into(), ..Default::default() }).entries {
            if let Ok(v) = serde_json::from_slice::<Value>(&e.bytes) {
                taken.addresses.extend(addresses(&v));
                taken.ports.extend(node_ports(&v));
            }
        }
        Self { ranges, taken: Arc::new(Mutex::new(taken)) }
    }

    /// Gives the Service what its type needs and takes note of it.
    fn reserve(&self, v: &mut Value, old: Option<&Value>, random: &dyn Fn() -> u32) -> Result<Reserved, Vec<Cause>> {
        let mut reserved = Reserved::nothing();
        reserved.taken = Some(self.taken.clone());
        let mut taken = self.taken.lock();
        let held_addresses = old.map(addresses).unwrap_or_default();
        let held_ports: HashSet<(String, u16)> = old.map(node_ports).unwrap_or_default().into_iter().collect();
        let mut causes = Vec::new();
        if let Err(c) = self.addresses(v, old, &held_addresses, &mut taken, &mut reserved, random) {
            causes.push(c);
        }
        if causes.is_empty()
            && let Err(c) = self.ports(v, old, &held_ports, &mut taken, &mut reserved, random)
        {
            causes.push(c);
        }
        let (now, ports) = (addresses(v), node_ports(v));
        reserved.freed = (
            held_addresses.into_iter().filter(|a| !now.contains(a)).collect(),
            held_ports.into_iter().filter(|p| !ports.contains(p)).collect(),
        );
        drop(taken);
        if causes.is_empty() { Ok(reserved) } else { Err(causes) }
    }

    fn addresses(&self, v: &mut Value, old: Option<&Value>, held: &[IpAddr], taken: &mut Taken, reserved: &mut Reserved, random: &dyn Fn() -> u32) -> Result<(), Cause> {
        if value::text(v, "spec.type") == "ExternalName" {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                value::remove(v, &format!("spec.{key}"));
            }
            return Ok(());
        }
        let families = self.families(v, old)?;
        let single = value::text(v, "spec.clusterIP").to_owned();
        let mut asked: Vec<String> = value::list(v, "spec.clusterIPs").iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        match (asked.first(), single.as_str()) {
            (None, "") => {}
            (None, one) => asked.push(one.to_owned()),
            // An update through clusterIP alone clears or replaces the list.
            (Some(first), one) if first != one && old.is_some_and(|o| value::text(o, "spec.clusterIP") != one) => asked = if one.is_empty() { vec![] } else { vec![one.to_owned()] },
            _ => {}
        }
        if asked.first().is_some_and(|a| a == "None") {
            value::set(v, "spec.clusterIP", "None");
            value::set(v, "spec.clusterIPs", json!(["None"]));
            return Ok(());
        }
        let mut all = Vec::new();
        for (i, family) in families.iter().enumerate() {
            let address = match asked.get(i).or_else(|| asked.iter().find(|a| family_of(a) == Some(*family))) {
                Some(a) => self.take(a, held, taken, reserved)?,
                None => self.pick(*family, taken, reserved, random)?,
            };
            all.push(address.to_string());
        }
        value::set(v, "spec.clusterIP", all.first().cloned().unwrap_or_default());
        value::set(v, "spec.clusterIPs", all);
        Ok(())
    }

    /// Families and policy, filled in from what the cluster has.
    fn families(&self, v: &mut Value, old: Option<&Value>) -> Result<Vec<&'static str>, Cause> {
        let have: Vec<&'static str> = self.ranges.networks.iter().map(|n| if matches!(n, IpNet::V4(_)) { "IPv4" } else { "IPv6" }).collect();
        let mut asked: Vec<&'static str> = Vec::new();
        for (i, f) in value::list(v, "spec.ipFamilies").iter().enumerate() {
            let known = ["IPv4", "IPv6"].into_iter().find(|k| f == k);
            match known.filter(|k| have.contains(k)) {
                Some(k) => asked.push(k),
                None => return Err(invalid(&format!("spec.ipFamilies[{i}]"), f, "not configured on this cluster")),
            }
        }
        for a in value::list(v, "spec.clusterIPs").iter().filter_map(Value::as_str).chain([value::text(v, "spec.clusterIP")]) {
            if let Some(f) = family_of(a).filter(|f| !asked.contains(f) && have.contains(f)) {
                asked.push(f);
            }
        }
        let policy = match value::text(v, "spec.ipFamilyPolicy") {
            "" if asked.len() > 1 => "RequireDualStack",
            "" => match old.map(|o| value::text(o, "spec.ipFamilyPolicy")) {
                Some("PreferDualStack") => "PreferDualStack",
                Some("RequireDualStack") => "RequireDualStack",
                _ => "SingleStack",
            },
            "PreferDualStack" => "PreferDualStack",
            "RequireDualStack" => "RequireDualStack",
            _ => "SingleStack",
        };
        let headless_without_selector = value::text(v, "spec.clusterIP") == "None" && value::map(v, "spec.selector").is_none_or(serde_json::Map::is_empty);
        let policy = if headless_without_selector && value::text(v, "spec.ipFamilyPolicy").is_empty() && old.is_none() && asked.is_empty() { "RequireDualStack" } else { policy };
        for f in &have {
            if !asked.contains(f) && (asked.is_empty() || policy != "SingleStack") {
                asked.push(f);
            }
        }
        if headless_without_selector && policy == "RequireDualStack" && asked.len() == 1 {
            asked = vec![asked[0], if asked[0] == "IPv4" { "IPv6" } else { "IPv4" }];
        } else if policy == "RequireDualStack" && have.len() < 2 {
            return Err(invalid("spec.ipFamilyPolicy", &policy.into(), "this cluster is not configured for dual-stack services"));
        }
        if policy == "SingleStack" {
            asked.truncate(1);
        }
        value::set(v, "spec.ipFamilies", asked.clone());
        value::set(v, "spec.ipFamilyPolicy", policy);
        Ok(asked)
    }

    fn take(&self, text: &str, held: &[IpAddr], taken: &mut Taken, reserved: &mut Reserved) -> Result<IpAddr, Cause> {
        let bad = |why: &str| invalid("spec.clusterIPs", &json!([text]), why);
        let address: IpAddr = text.parse().map_err(|_| bad("must be a valid IP address"))?;
        if held.contains(&address) {
            return Ok(address);
        }
        if !self.ranges.networks.iter().any(|n| n.contains(&address)) {
            return Err(bad(&format!("failed to allocate IP {text}: the provided IP is not in the valid range. The range of valid IPs is {}", self.ranges.networks.first().map(IpNet::to_string).unwrap_or_default())));
        }
        if !taken.addresses.insert(address) {
            return Err(bad(&format!("failed to allocate IP {text}: provided IP is already allocated")));
        }
        reserved.addresses.push(address);
        Ok(address)
    }

    fn pick(&self, family: &str, taken: &mut Taken, reserved: &mut Reserved, random: &dyn Fn() -> u32) -> Result<IpAddr, Cause> {
        let full = || invalid("spec.clusterIPs", &Value::Null, "failed to allocate a serviceIP: range is full");
        let network = self.ranges.networks.iter().find(|n| matches!(n, IpNet::V4(_)) == (family == "IPv4")).ok_or_else(full)?;
        let bits = network.max_prefix_len() - network.prefix_len();
        // Addresses above the lower part of the range are handed out, so that people can choose in the lower one.
        let size: u64 = if bits >= 20 { 1 << 20 } else { (1 << bits) - 2 };
        let reserved_for_people = (size / 16).clamp(16.min(size / 2), 256);
        let span = size.saturating_sub(reserved_for_people).max(1);
        let start = u64::from(random()) % span;
        let upper = (0..span).map(|i| reserved_for_people + 1 + (start + i) % span);
        for n in upper.chain(1..=reserved_for_people) {
            let address = offset(network, n);
            if taken.addresses.insert(address) {
                reserved.addresses.push(address);
                return Ok(address);
            }
        }
        Err(full())
    }

    fn ports(&self, v: &mut Value, old: Option<&Value>, held: &HashSet<(String, u16)>, taken: &mut Taken, reserved: &mut Reserved, random: &dyn Fn() -> u32) -> Result<(), Cause> {
        let kind = value::text(v, "spec.type").to_owned();
        let balancer = kind == "LoadBalancer";
        let wants = kind == "NodePort" || (balancer && value::at(v, "spec.allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false));
        let mut before: HashMap<(String, i64), i64> = HashMap::new();
        for p in old.map(|o| value::list(o, "spec.ports")).unwrap_or_default() {
            before.insert((protocol(p), value::int(p, "port")), value::int(p, "nodePort"));
        }
        let was_same = old.is_some_and(|o| value::text(o, "spec.type") != "NodePort" && value::text(o, "spec.type") != "LoadBalancer");
        let mut shared: HashMap<i64, u16> = HashMap::new();
        for p in v.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if kind == "ClusterIP" || kind.is_empty() || kind == "ExternalName" {
                // Going back to a ClusterIP gives the ports back.
                if old.is_some() && !was_same {
                    value::remove(p, "nodePort");
                }
                continue;
            }
            let (proto, number) = (protocol(p), value::int(p, "port"));
            let mut asked = value::int(p, "nodePort");
            if asked == 0 {
                asked = before.get(&(proto.clone(), number)).copied().unwrap_or(0);
            }
            if asked == 0 && !wants {
                continue;
            }
            let port = match (asked, shared.get(&number)) {
                // One port number for TCP and UDP of the same service port.
                (0, Some(&n)) if taken.ports.insert((proto.clone(), n)) => {
                    reserved.ports.push((proto, n));
                    n
                }
                (0, _) => self.pick_port(&proto, taken, reserved, random)?,
                (n, _) => self.take_port(n, &proto, held, taken, reserved)?,
            };
            shared.insert(number, port);
            p["nodePort"] = port.into();
        }
        if balancer && value::text(v, "spec.externalTrafficPolicy") == "Local" && value::int(v, "spec.healthCheckNodePort") == 0 {
            let n = self.pick_port("TCP", taken, reserved, random)?;
            value::set(v, "spec.healthCheckNodePort", n);
        }
        Ok(())
    }

    fn take_port(&self, n: i64, protocol: &str, held: &HashSet<(String, u16)>, taken: &mut Taken, reserved: &mut Reserved) -> Result<u16, Cause> {
        let (low, high) = self.ranges.ports;
        let outside = || invalid("spec.ports[0].nodePort", &n.into(), &format!("provided port is not in the valid range. The range of valid ports is {low}-{high}"));
        let port = u16::try_from(n).map_err(|_| outside())?;
        let key = (protocol.to_owned(), port);
        if held.contains(&key) {
            return Ok(port);
        }
        if port < low || port > high {
            return Err(outside());
        }
        if !taken.ports.insert(key.clone()) {
            return Err(invalid("spec.ports[0].nodePort", &n.into(), "provided port is already allocated"));
        }
        reserved.ports.push(key);
        Ok(port)
    }

    fn pick_port(&self, protocol: &str, taken: &mut Taken, reserved: &mut Reserved, random: &dyn Fn() -> u32) -> Result<u16, Cause> {
        let (low, high) = self.ranges.ports;
        let span = u32::from(high.saturating_sub(low)) + 1;
        // The first ports of the range are left for people to choose.
        let kept = (span / 32).clamp(16.min(span / 2), 128);
        let rest = span - kept;
        let start = random() % rest.max(1);
        for i in (0..rest).map(|i| kept + (start + i) % rest).chain(0..kept) {
            let port = low + i as u16;
            let key = (protocol.to_owned(), port);
            if taken.ports.insert(key.clone()) {
                reserved.ports.push(key);
                return Ok(port);
            }
        }
        Err(invalid("spec.ports[0].nodePort", &Value::Null, "failed to allocate a nodePort: range is full"))
    }
}

fn family_of(text: &str) -> Option<&'static str> {
    Some(if text.parse::<IpAddr>().ok()?.is_ipv4() { "IPv4" } else { "IPv6" })
}
fn offset(network: &IpNet, n: u64) -> IpAddr {
    match network.network() {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a).wrapping_add(n as u32)).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a).wrapping_add(u128::from(n))).into()),
    }
}
fn invalid(field: &str, bad: &Value, why: &str) -> Cause {
    super::metadata::invalid(field, bad, why)
}

impl Registry {
    pub(crate) fn reserve(&self, ctx: &Context<'_>, v: &mut Value, old: Option<&Value>) -> Result<Reserved, Status> {
        if !ctx.row.strategy.allocates {
            return Ok(Reserved::nothing());
        }
        let random = || (self.options.random)();
        self.services.reserve(v, old, &random).map_err(|causes| Status::invalid("", "Service", value::text(v, "metadata.name"), causes))
    }
    /// Takes note of an object that is gone.
    pub(crate) fn release(&self, ctx: &Context<'_>, v: &Value) {
        if ctx.row.strategy.allocates {
            let mut taken = self.services.taken.lock();
            for a in addresses(v) {
                taken.addresses.remove(&a);
            }
            for p in node_ports(v) {
                taken.ports.remove(&p);
            }
        }
    }
}
