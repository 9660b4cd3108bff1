//! Addresses and ports of Services, out of the cluster's ranges.
//!
//! What is taken is read from the store at start and kept in memory; a Service that fails to be written gives back what
//! it reserved. The first range is the cluster's default family. Addresses come out of every ServiceCIDR that is ready
//! (KEP-1880), and an IPAddress that somebody else made keeps its address from being given.

mod counts;
mod families;
mod networks;
mod ports;
mod settle;

use super::persist::Change;
use crate::{
    registry::{Context, Registry},
    value,
};
use ipnet::IpNet;
use parking_lot::Mutex;
use ports::Ports;
use skiff_json::Value;
use skiff_meta::{Cause, Status};
use skiff_store::{ListQuery, Store};
use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const ADDRESSES: &str = "ipaddresses.networking.k8s.io";
const CIDRS: &str = "servicecidrs.networking.k8s.io";

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
    ports: HashSet<u16>,
}

pub(crate) struct Allocator {
    ranges: Ranges,
    taken: Arc<Mutex<Taken>>,
    /// Addresses that were given: asked for by name, and chosen here.
    given: [AtomicU64; 2],
}

/// What a Service in the making took; given back when it is dropped before it is kept.
pub(crate) struct Reserved {
    taken: Option<Arc<Mutex<Taken>>>,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    /// What the Service had before and has no more.
    freed: (Vec<IpAddr>, Vec<u16>),
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

pub(crate) fn addresses(v: &Value) -> Vec<IpAddr> {
    value::list(v, "spec.clusterIPs").iter().filter_map(|a| a.as_str()?.parse().ok()).collect()
}
fn node_ports(v: &Value) -> Vec<u16> {
    let all = value::list(v, "spec.ports").iter().map(|p| value::int(p, "nodePort")).chain([value::int(v, "spec.healthCheckNodePort")]);
    all.filter_map(|n| u16::try_from(n).ok()).filter(|n| *n > 0).collect()
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
            if let Ok(v) = skiff_json::from_slice::<Value>(&e.bytes) {
                taken.addresses.extend(addresses(&v));
                taken.ports.extend(node_ports(&v));
            }
        }
        Self { ranges, taken: Arc::new(Mutex::new(taken)), given: Default::default() }
    }

    /// Gives the Service what its type needs and takes note of it.
    fn reserve(&self, v: &mut Value, old: Option<&Value>, world: &World<'_>) -> Result<Reserved, Refused> {
        settle::settle(v, old);
        self.families(v, old).map_err(Refused::Invalid)?;
        let mut reserved = Reserved::nothing();
        reserved.taken = Some(self.taken.clone());
        let mut taken = self.taken.lock();
        let asked = addresses(v).len();
        // What is refused gives back what it took when `reserved` is dropped: not under the lock.
        let done = self.addresses(v, old, &mut taken, &mut reserved, world).and_then(|()| {
            let Reserved { ports, .. } = &mut reserved;
            Ports {
                range: self.ranges.ports,
                taken: &mut taken.ports,
                reserved: ports,
                random: world.random,
                dry_run: world.dry_run,
                tried: Default::default(),
            }
            .give(v, old)
        });
        let (now, ports) = (addresses(v), node_ports(v));
        reserved.freed = (
            old.map(addresses).unwrap_or_default().into_iter().filter(|a| !now.contains(a)).collect(),
            old.map(node_ports).unwrap_or_default().into_iter().filter(|p| !ports.contains(p)).collect(),
        );
        if done.is_ok() {
            let fresh = reserved.addresses.len();
            self.given[0].fetch_add(fresh.min(asked) as u64, Ordering::Relaxed);
            self.given[1].fetch_add(fresh.saturating_sub(asked) as u64, Ordering::Relaxed);
        }
        drop(taken);
        done.map(|()| reserved)
    }
}

/// What an allocation looks at beside what is taken.
struct World<'a> {
    /// Networks that addresses may come from now.
    open: Vec<IpNet>,
    /// Whether an IPAddress keeps this one from the Service.
    kept: &'a dyn Fn(IpAddr) -> bool,
    random: &'a dyn Fn() -> u32,
    /// Nothing is taken.
    dry_run: bool,
    name: &'a str,
    /// It has no name that an address could be kept for.
    nameless: bool,
}

#[derive(Debug)]
enum Refused {
    Invalid(Vec<Cause>),
    /// Nothing is wrong with the Service: there is nothing left for it.
    Failed(String),
}

fn invalid(field: &str, bad: &Value, why: &str) -> Cause {
    super::metadata::invalid(field, bad, why)
}

impl Registry {
    pub(crate) fn reserve(&self, ctx: &Context<'_>, v: &mut Value, change: &Change, dry_run: bool) -> Result<Reserved, Status> {
        let old = change.old.as_ref().map(|(_, old)| old);
        // A write of its status moves nothing.
        if !ctx.row.strategy.allocates || change.role.is_some() {
            return Ok(Reserved::nothing());
        }
        let random = || (self.options.random)();
        let (namespace, name) = (value::text(v, "metadata.namespace").to_owned(), value::text(v, "metadata.name").to_owned());
        let kept = |a: IpAddr| self.store.get(&format!("{ADDRESSES}//{a}")).is_some_and(|e| !networks::belongs(&e.bytes, &namespace, &name));
        let list = self.store.list(&ListQuery { prefix: format!("{CIDRS}/"), ..Default::default() });
        let open = networks::open(list.entries.iter().map(|e| &*e.bytes), &self.services.ranges.networks);
        let world = World { open, kept: &kept, random: &random, dry_run, name: &name, nameless: name.is_empty() };
        self.services.reserve(v, old, &world).map_err(|refused| match refused {
            Refused::Invalid(causes) => Status::invalid("", "Service", &name, causes),
            Refused::Failed(why) => Status::internal(why),
        })
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
