//! How many addresses and ports of Services are taken and left.
use super::Allocator;
use ipnet::IpNet;
use skiff_telemetry::metrics::Exposition;
use std::sync::atomic::Ordering;

/// Addresses of a network that a Service may have: not the network itself and, of IPv4, not its broadcast address.
fn usable(n: &IpNet) -> f64 {
    match n {
        IpNet::V4(n) => 2f64.powi(32 - i32::from(n.prefix_len())) - 2.0,
        // Upstream counts no further than this.
        IpNet::V6(n) => 2f64.powi((128 - i32::from(n.prefix_len())).min(16)) - 1.0,
    }
}

impl Allocator {
    pub fn metrics(&self, out: &mut Exposition) {
        let taken = self.taken.lock();
        let networks: Vec<(String, f64, f64)> =
            self.ranges.networks.iter().map(|n| (n.to_string(), taken.addresses.iter().filter(|a| n.contains(*a)).count() as f64, usable(n))).collect();
        let name = "kube_apiserver_clusterip_allocator_allocated_ips";
        out.family(name, "gauge", "Addresses that Services have");
        networks.iter().for_each(|(cidr, used, _)| out.sample(name, &[("cidr", cidr)], used));
        let name = "kube_apiserver_clusterip_allocator_available_ips";
        out.family(name, "gauge", "Addresses that are left for Services");
        networks.iter().for_each(|(cidr, used, all)| out.sample(name, &[("cidr", cidr)], (all - used).max(0.0)));
        let name = "kube_apiserver_clusterip_allocator_allocation_total";
        out.family(name, "counter", "Addresses that Services were given");
        if let Some((cidr, ..)) = networks.first() {
            for (scope, n) in ["static", "dynamic"].iter().zip(&self.given) {
                out.sample(name, &[("cidr", cidr), ("scope", scope)], n.load(Ordering::Relaxed));
            }
        }
        let (first, last) = self.ranges.ports;
        let (all, used) = (u64::from(last.saturating_sub(first)) + 1, taken.ports.len() as u64);
        out.single("kube_apiserver_nodeport_allocator_allocated_ports", "gauge", "Node ports that Services have", used);
        out.single("kube_apiserver_nodeport_allocator_available_ports", "gauge", "Node ports that are left", all.saturating_sub(used));
    }
}
