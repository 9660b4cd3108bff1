//! Pools of devices as one node sees them.
use super::{DeviceId, Inventory};
use crate::{facts::NodeFacts, selector::term_matches};
use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::api::resource::v1::{Device, DeviceTaint, DeviceTaintRule, ResourceSlice, ResourceSliceSpec};
use skiff_meta::Quantity;
use std::collections::BTreeMap;

/// A device that the node can reach.
#[derive(Clone)]
pub(super) struct Candidate<'a> {
    pub id: DeviceId,
    pub device: &'a Device,
    pub taints: Vec<&'a DeviceTaint>,
    /// Where it can be reached from; None: from this node only, when `local`, otherwise from everywhere.
    pub selector: Option<&'a NodeSelector>,
    pub local: bool,
}

/// Counter set and counter.
pub(super) type CounterId = (String, String);

pub(super) struct Pool<'a> {
    pub driver: &'a str,
    pub name: &'a str,
    /// All slices of its generation are there.
    pub complete: bool,
    /// Devices that can be reached, in the order in which they are published.
    pub devices: Vec<Candidate<'a>>,
    /// Of all the pool's devices, reachable or not: what each takes of the counters.
    pub consumption: BTreeMap<&'a str, &'a Device>,
    pub counters: BTreeMap<CounterId, Quantity>,
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap_or_default()
}

fn reaches(selector: &NodeSelector, node: &NodeFacts) -> bool {
    selector.node_selector_terms.iter().any(|t| term_matches(t, &node.labels, &node.name))
}

/// Whether a device is reached from the node, by its own words or those of its slice; and how.
fn way<'a>(slice: &'a ResourceSliceSpec, device: &'a Device, node: &NodeFacts) -> Option<(Option<&'a NodeSelector>, bool)> {
    let (name, selector, all) = match slice.per_device_node_selection {
        Some(true) => (&device.node_name, &device.node_selector, device.all_nodes),
        _ => (&slice.node_name, &slice.node_selector, slice.all_nodes),
    };
    match (name.as_deref().filter(|n| !n.is_empty()), selector) {
        (Some(n), _) => (n == node.name).then_some((None, true)),
        (None, Some(s)) => reaches(s, node).then_some((Some(s), false)),
        (None, None) => (all == Some(true)).then_some((None, false)),
    }
}

fn tainted<'a>(rules: &'a [DeviceTaintRule], id: &DeviceId) -> impl Iterator<Item = &'a DeviceTaint> {
    let fits = |own: &Option<String>, of: &str| own.as_deref().is_none_or(|o| o == of);
    rules
        .iter()
        .filter(move |r| r.spec.device_selector.as_ref().is_some_and(|s| fits(&s.driver, &id.0) && fits(&s.pool, &id.1) && fits(&s.device, &id.2)))
        .map(|r| &r.spec.taint)
}

/// The newest generation of each pool. Pools on this node alone come first, as upstream prefers them.
pub(super) fn of_node<'a>(inventory: &'a Inventory, node: &NodeFacts) -> Vec<Pool<'a>> {
    let mut by_pool: BTreeMap<(&str, &str), Vec<&ResourceSlice>> = BTreeMap::new();
    for slice in &inventory.slices {
        by_pool.entry((&slice.spec.driver, &slice.spec.pool.name)).or_default().push(slice);
    }
    let mut pools: Vec<Pool<'a>> =
        by_pool.into_iter().map(|((driver, name), slices)| pool(inventory, driver, name, slices, node)).filter(|p| !p.devices.is_empty()).collect();
    pools.sort_by_key(|p| !p.devices.iter().all(|d| d.local));
    pools
}

fn pool<'a>(inventory: &'a Inventory, driver: &'a str, name: &'a str, mut slices: Vec<&'a ResourceSlice>, node: &NodeFacts) -> Pool<'a> {
    let newest = slices.iter().map(|s| s.spec.pool.generation).max().unwrap_or_default();
    slices.retain(|s| s.spec.pool.generation == newest);
    slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let complete = slices.iter().all(|s| s.spec.pool.resource_slice_count as usize == slices.len());
    let (mut devices, mut consumption, mut counters) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for slice in slices {
        for set in slice.spec.shared_counters.iter().flatten() {
            counters.extend(set.counters.iter().map(|(n, c)| ((set.name.clone(), n.clone()), quantity(&c.value.0))));
        }
        for device in slice.spec.devices.iter().flatten() {
            consumption.insert(device.name.as_str(), device);
            if let Some((selector, local)) = way(&slice.spec, device, node) {
                let id = (driver.to_owned(), name.to_owned(), device.name.clone());
                let taints = device
                    .taints
                    .iter()
                    .flatten()
                    .chain(tainted(&inventory.taints, &id))
                    .filter(|t| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute"))
                    .collect();
                devices.push(Candidate { id, device, taints, selector, local });
            }
        }
    }
    Pool { driver, name, complete, devices, consumption, counters }
}

/// What a device takes of its pool's counters.
pub(super) fn consumes(device: &Device) -> impl Iterator<Item = (CounterId, Quantity)> + '_ {
    let sets = device.consumes_counters.iter().flatten();
    sets.flat_map(|set| set.counters.iter().map(|(name, c)| ((set.counter_set.clone(), name.clone()), quantity(&c.value.0))))
}
