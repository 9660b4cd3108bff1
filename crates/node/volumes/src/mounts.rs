//! A container's volume mounts as the runtime takes them. Pure.
use crate::apply::Mounted;
use k8s_openapi::api::core::v1::{Container, VolumeMount};
use skiff_cri::{Device, Mount, Propagation};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Mounts and devices of the container, or the volume that is missing. `sub_paths` are by index of the volume mount.
pub fn container_mounts(c: &Container, mounted: &Mounted, sub_paths: &BTreeMap<usize, PathBuf>) -> Result<(Vec<Mount>, Vec<Device>), String> {
    let mut mounts = Vec::new();
    for (n, m) in c.volume_mounts.iter().flatten().enumerate() {
        let volume = mounted.paths.get(&m.name).ok_or_else(|| missing(&m.name, c))?;
        let source = sub_paths.get(&n).unwrap_or(volume);
        mounts.push(one(m, source, mounted.read_only.contains(&m.name)));
    }
    let mut devices = Vec::new();
    for d in c.volume_devices.iter().flatten() {
        let host = mounted.devices.get(&d.name).ok_or_else(|| missing(&d.name, c))?;
        let permissions = if mounted.read_only.contains(&d.name) { "r" } else { "rwm" };
        devices.push(Device { host_path: host.clone(), container_path: PathBuf::from(&d.device_path), permissions: permissions.to_owned() });
    }
    Ok((mounts, devices))
}

fn missing(volume: &str, c: &Container) -> String {
    format!("cannot find volume {volume:?} to mount into container {:?}", c.name)
}

fn one(m: &VolumeMount, source: &Path, volume_read_only: bool) -> Mount {
    let readonly = m.read_only == Some(true) || volume_read_only;
    Mount {
        host_path: source.to_owned(),
        container_path: Path::new("/").join(&m.mount_path),
        readonly,
        recursive_readonly: readonly && matches!(m.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")),
        propagation: match m.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            _ => Propagation::Private,
        },
    }
}
