//! Which sandbox has which addresses and host ports: a value, kept in one JSON file that is replaced by rename.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::PodNetError;

/// A host port that leads to the pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MappedPort {
    /// The IP protocol number.
    pub protocol: u8,
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub container_port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The primary address first.
    pub ips: Vec<IpAddr>,
    /// The host's end of the veth pair.
    pub link: String,
    #[serde(default)]
    pub host_ports: Vec<MappedPort>,
}

/// All allocations of a node. Addresses are handed out in turn, so that a freed one rests for as long as possible.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocations {
    pub sandboxes: BTreeMap<String, Allocation>,
    /// The address handed out last, for each CIDR.
    #[serde(default)]
    last: BTreeMap<String, IpAddr>,
}

impl Allocations {
    /// An empty value when there is no file. One that can't be read is an error: addresses in use would be handed out again.
    pub fn load(path: &Path) -> Result<Self, PodNetError> {
        let fail = |source| PodNetError::File { step: "read the allocations", path: path.to_owned(), source };
        match fs::read(path) {
            Ok(bytes) => skiff_json::from_slice(&bytes).map_err(|error| fail(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(fail(error)),
        }
    }

    /// Written beside the file and renamed over it. Without fsync: a machine that went down has no pods to remember.
    pub fn store(&self, path: &Path) -> Result<(), PodNetError> {
        let fail = |source| PodNetError::File { step: "write the allocations", path: path.to_owned(), source };
        let bytes = skiff_json::to_vec(self).map_err(|error| fail(error.into()))?;
        let beside = path.with_extension("new");
        let mut file = File::create(&beside).map_err(fail)?;
        file.write_all(&bytes).map_err(fail)?;
        fs::rename(&beside, path).map_err(fail)
    }

    /// One address of each CIDR for the sandbox, or those that it has.
    pub fn allocate(&mut self, sandbox: &str, link: &str, cidrs: &[IpNet]) -> Result<&mut Allocation, PodNetError> {
        if !self.sandboxes.contains_key(sandbox) {
            let used: BTreeSet<IpAddr> = self.sandboxes.values().flat_map(|a| a.ips.iter().copied()).collect();
            let mut ips = Vec::new();
            for cidr in cidrs {
                let ip = next_free(cidr, self.last.get(&cidr.to_string()), &used).ok_or_else(|| PodNetError::Exhausted(cidr.to_string()))?;
                self.last.insert(cidr.to_string(), ip);
                ips.push(ip);
            }
            let made = Allocation { ips, link: link.to_owned(), host_ports: Vec::new() };
            self.sandboxes.insert(sandbox.to_owned(), made);
        }
        Ok(self.sandboxes.entry(sandbox.to_owned()).or_default())
    }
}

/// The first address is the tunnel's and the second is left out too, as a gateway elsewhere; the last of IPv4 is a broadcast address.
fn next_free(cidr: &IpNet, last: Option<&IpAddr>, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let (base, bits) = match cidr.network() {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let size = 1u128 << (bits - u32::from(cidr.prefix_len())).min(64);
    let usable = size.checked_sub(3).filter(|n| *n > 0)?;
    let offset = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(*ip)).wrapping_sub(base),
        IpAddr::V6(ip) => u128::from(*ip).wrapping_sub(base),
    };
    let start = last.filter(|ip| cidr.contains(*ip)).map_or(0, |ip| offset(ip).saturating_sub(1));
    // One more than are used is enough to find a free one.
    (0..usable.min(used.len() as u128 + 1))
        .map(|step| base + 2 + (start + step) % usable)
        .map(|number| match bits {
            32 => IpAddr::from((number as u32).to_be_bytes()),
            _ => IpAddr::from(number.to_be_bytes()),
        })
        .find(|ip| !used.contains(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_and_come_back_after_a_restart() {
        let cidrs: Vec<IpNet> = vec!["10.42.0.0/29".parse().unwrap(), "fd00::/64".parse().unwrap()];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allocations.json");
        let mut all = Allocations::load(&path).unwrap();
        let first = all.allocate("a", "l", &cidrs).unwrap().ips.clone();
        assert_eq!(first, vec!["10.42.0.2".parse::<IpAddr>().unwrap(), "fd00::2".parse().unwrap()]);
        assert_eq!(all.allocate("a", "l", &cidrs).unwrap().ips, first);
        all.sandboxes.remove("a");
        all.store(&path).unwrap();
        let mut all = Allocations::load(&path).unwrap();
        // A freed address comes last: .3 to .6, then .2 again, then none.
        let given: Vec<String> = (0..5).map(|i| all.allocate(&i.to_string(), "l", &cidrs).unwrap().ips[0].to_string()).collect();
        assert_eq!(given, ["10.42.0.3", "10.42.0.4", "10.42.0.5", "10.42.0.6", "10.42.0.2"]);
        let error = all.allocate("x", "l", &cidrs).unwrap_err();
        assert_eq!(error.to_string(), "the pod CIDR 10.42.0.0/29 has no free address");
        assert!(!all.sandboxes.contains_key("x"));
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allocations.json");
        fs::write(&path, "{").unwrap();
        assert!(Allocations::load(&path).is_err());
    }
}
