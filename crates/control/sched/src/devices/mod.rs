//! Which devices a claim gets (KEP-4381, structured parameters). Pure.
//!
//! [`pool`] gathers published slices into pools as a node sees them, [`select`] evaluates the CEL of classes and requests,
//! [`search`] looks for devices that fulfil all claims of a pod at once, and [`result`] writes down what it found.
//!
//! Not here: devices that several claims may share by a part of their capacity (`allowMultipleAllocations`), which are
//! given whole; binding conditions; extended resources that are devices.

mod pool;
mod result;
mod search;
mod select;
#[cfg(test)]
mod tests;

pub use select::Selectors;

use crate::facts::NodeFacts;
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceClass, DeviceTaintRule, ResourceClaim, ResourceSlice};
use std::collections::{BTreeMap, BTreeSet};

/// A device: driver, pool, name.
pub type DeviceId = (String, String, String);

/// What is published and what is taken.
#[derive(Default)]
pub struct Inventory {
    pub slices: Vec<ResourceSlice>,
    pub classes: BTreeMap<String, DeviceClass>,
    pub taints: Vec<DeviceTaintRule>,
    /// Devices that claims have, those with administrator's access left out.
    pub taken: BTreeSet<DeviceId>,
}

/// Devices that an allocation takes from others.
pub fn taken(a: &AllocationResult) -> impl Iterator<Item = DeviceId> + '_ {
    let results = a.devices.iter().flat_map(|d| d.results.iter().flatten());
    results.filter(|r| r.admin_access != Some(true)).map(|r| (r.driver.clone(), r.pool.clone(), r.device.clone()))
}

/// Why there is no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unable {
    /// Not on this node.
    Here,
    /// A claim, class or selector is wrong, whichever the node.
    Wrong(String),
}

/// Devices on `node` for all of `claims`, in their order.
pub fn allocate(inventory: &Inventory, claims: &[ResourceClaim], node: &NodeFacts, selectors: &Selectors) -> Result<Vec<AllocationResult>, Unable> {
    let wanted = claims.iter().map(|c| search::Wanted::of(c, &inventory.classes)).collect::<Result<Vec<_>, _>>().map_err(Unable::Wrong)?;
    let pools = pool::of_node(inventory, node);
    let found = search::find(&pools, &wanted, &inventory.taken, selectors)?;
    Ok(claims.iter().zip(found).map(|(claim, picks)| result::allocation(claim, &inventory.classes, &picks, &node.name)).collect())
}
