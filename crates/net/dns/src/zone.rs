//! The index: Services by namespace and name, their slices, and addresses back to names.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;
use parking_lot::RwLock;

use crate::{DnsEndpoint, DnsPort, DnsService, DnsSlice};

#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) service: Option<DnsService>,
    slices: BTreeMap<String, DnsSlice>,
}

impl Entry {
    /// Endpoints that may be told, with their slice's ports.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&DnsEndpoint, &[DnsPort])> {
        let all = self.service.as_ref().is_some_and(|s| s.publish_not_ready);
        let slices = self.slices.values();
        slices.flat_map(move |s| s.endpoints.iter().filter(move |e| e.ready || all).map(|e| (e, s.ports.as_slice())))
    }
}

/// Everything below the zone. Names are lower case, as the API has them.
#[derive(Clone, Debug)]
pub struct Index {
    pub(crate) zone: Name,
    pub(crate) labels: Vec<String>,
    pub(crate) services: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Cluster IPs and endpoint addresses: namespace, Service, and the label of the endpoint.
    pub(crate) reverse: HashMap<IpAddr, Vec<(String, String, Option<String>)>>,
    pub(crate) serial: u32,
}

impl Index {
    pub(crate) fn entry(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.services.get(namespace)?.get(name)
    }

    fn change(&mut self, namespace: &str, name: &str, change: impl FnOnce(&mut Entry)) {
        let services = self.services.entry(namespace.to_owned()).or_default();
        let entry = services.entry(name.to_owned()).or_default();
        let before = addresses(entry);
        change(entry);
        let after = addresses(entry);
        if entry.service.is_none() && entry.slices.is_empty() {
            services.remove(name);
            if services.is_empty() {
                self.services.remove(namespace);
            }
        }
        for (ip, label) in before {
            if let Some(names) = self.reverse.get_mut(&ip) {
                names.retain(|n| (n.0.as_str(), n.1.as_str(), &n.2) != (namespace, name, &label));
                if names.is_empty() {
                    self.reverse.remove(&ip);
                }
            }
        }
        for (ip, label) in after {
            self.reverse.entry(ip).or_default().push((namespace.to_owned(), name.to_owned(), label));
        }
        self.serial = self.serial.wrapping_add(1);
    }
}

/// What of an entry has a PTR record: cluster IPs; endpoints of headless Services, and those with a hostname.
fn addresses(entry: &Entry) -> Vec<(IpAddr, Option<String>)> {
    let Some(service) = &entry.service else { return Vec::new() };
    let headless = service.cluster_ips.is_empty();
    let own = service.cluster_ips.iter().map(|ip| (*ip, None));
    let endpoints = entry.endpoints().filter(|(e, _)| headless || e.hostname.is_some());
    own.chain(endpoints.map(|(e, _)| (e.address, Some(e.label())))).collect()
}

/// The zone that the server answers from; cheap to clone, changed one object at a time.
#[derive(Clone, Debug)]
pub struct Zone(Arc<RwLock<Index>>);

impl Zone {
    /// `domain` is the cluster's, e.g. `cluster.local`. None when that is no domain name.
    pub fn new(domain: &str) -> Option<Self> {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let zone = Name::from_ascii(format!("{domain}.")).ok()?;
        let labels = domain.split('.').map(str::to_owned).collect();
        let index = Index { zone, labels, services: BTreeMap::new(), reverse: HashMap::new(), serial: 1 };
        Some(Self(Arc::new(RwLock::new(index))))
    }

    pub fn read<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.0.read())
    }

    pub fn set_service(&self, service: DnsService) {
        let (namespace, name) = (service.namespace.clone(), service.name.clone());
        self.0.write().change(&namespace, &name, |entry| entry.service = Some(service));
    }

    pub fn remove_service(&self, namespace: &str, name: &str) {
        self.0.write().change(namespace, name, |entry| entry.service = None);
    }

    pub fn set_slice(&self, slice: DnsSlice) {
        let (namespace, name) = (slice.namespace.clone(), slice.service.clone());
        self.0.write().change(&namespace, &name, |entry| {
            entry.slices.insert(slice.name.clone(), slice);
        });
    }

    pub fn remove_slice(&self, namespace: &str, service: &str, slice: &str) {
        self.0.write().change(namespace, service, |entry| {
            entry.slices.remove(slice);
        });
    }
}
