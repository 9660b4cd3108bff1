//! Network sysctls of the calling thread's namespace.

use std::fs;
use std::path::PathBuf;

use crate::{NetlinkError, Result};

fn path_of(name: &str) -> PathBuf {
    // The namespace of the reader decides what /proc/sys/net shows. Dots in interface names come as slashes.
    PathBuf::from("/proc/sys").join(name.trim_start_matches('/'))
}

/// `name` with slashes, e.g. `net/ipv4/ip_forward`. None when this kernel doesn't have it.
pub fn read_sysctl(name: &str) -> Option<String> {
    fs::read_to_string(path_of(name)).ok().map(|value| value.trim().to_owned())
}

/// Writes only when the value differs, so that a read-only /proc/sys with the right values is no error.
pub fn write_sysctl(name: &str, value: &str) -> Result<()> {
    if read_sysctl(name).as_deref() == Some(value) {
        return Ok(());
    }
    fs::write(path_of(name), value).map_err(|source| NetlinkError::system(format!("set the sysctl {name} to {value}"), source))
}
