//! Root file systems of containers: an overlay of the image's layers with a writable layer on top.
//!
//! The mount is made with `fsopen`, one `lowerdir+` a layer, so that the number of layers isn't bounded by a page of
//! options. Kernels before 6.7 get `mount` with the layers as /proc/self/fd paths, which are short.
//! The writable layer is `volatile`: it is thrown away with the container, so nothing waits for it to reach the disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, move_mount, unmount,
};
use skiff_cri::{ContainerId, FsStats};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::store::Store;

/// Where a container's parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsDirs {
    pub base: PathBuf,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub merged: PathBuf,
}

impl RootfsDirs {
    pub fn new(store: &Store, container: &ContainerId) -> Result<Self> {
        let id = container.as_str();
        let valid = !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !valid {
            return Err(Error::Config(format!("{id:?} cannot be the name of a container's directory")));
        }
        let base = store.rootfs_dir().join(id);
        Ok(Self { upper: base.join("upper"), work: base.join("work"), merged: base.join("merged"), base })
    }
}

/// Mounts the layers of an image (lowest first) with the container's own on top. Mounted already, it stays.
pub fn prepare(store: &Store, container: &ContainerId, image: &Digest, layers: &[Digest]) -> Result<PathBuf> {
    let dirs = RootfsDirs::new(store, container)?;
    let failed = |step: &str| {
        let (container, step) = (container.to_string(), step.to_owned());
        move |source: io::Error| Error::Mount { container, step, source }
    };
    if is_mounted(&dirs.merged) {
        return Ok(dirs.merged);
    }
    for dir in [&dirs.upper, &dirs.work, &dirs.merged] {
        fs::create_dir_all(dir).map_err(Error::io("making the directory", dir))?;
    }
    let names = skiff_json::to_vec(layers).map_err(|source| Error::Json { what: "layer names".to_owned(), source })?;
    // Whole or not at all, but not waited for: a machine that went down has nothing mounted.
    for (name, bytes) in [("image", image.to_string().into_bytes()), ("layers.json", names)] {
        let (path, scratch) = (dirs.base.join(name), store.scratch());
        fs::write(&scratch, bytes).map_err(Error::io("writing", &scratch))?;
        fs::rename(&scratch, &path).map_err(Error::io("replacing", &path))?;
    }
    // A volatile overlay that was not unmounted refuses its work directory until this mark is gone.
    match fs::remove_dir_all(dirs.work.join("work/incompat")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("clearing the mark of an unclean end")(e)),
        _ => {}
    }
    let mut lowers: Vec<PathBuf> = layers.iter().rev().map(|layer| store.layer_dir(layer).join("diff")).collect();
    if lowers.is_empty() {
        let empty = dirs.base.join("empty");
        fs::create_dir_all(&empty).map_err(Error::io("making the directory", &empty))?;
        lowers.push(empty);
    }
    inherit_root(&dirs.upper, &lowers).map_err(failed("copying the mode of the root directory"))?;
    mount_overlay(&lowers, &dirs).map_err(failed("overlay"))?;
    Ok(dirs.merged)
}

/// The root of the mount shows the upper directory's mode and owner: they have to be the image's.
fn inherit_root(upper: &Path, lowers: &[PathBuf]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let Some(top) = lowers.first() else { return Ok(()) };
    let metadata = fs::metadata(top)?;
    std::os::unix::fs::chown(upper, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(upper, fs::Permissions::from_mode(metadata.mode() & 0o7777))
}

fn mount_overlay(lowers: &[PathBuf], dirs: &RootfsDirs) -> io::Result<()> {
    match mount_by_descriptor(lowers, dirs) {
        Err(Errno::INVAL | Errno::NOSYS) => mount_by_options(lowers, dirs),
        other => Ok(other?),
    }
}

fn mount_by_descriptor(lowers: &[PathBuf], dirs: &RootfsDirs) -> rustix::io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for lower in lowers {
        fsconfig_set_string(&context, "lowerdir+", lower)?;
    }
    fsconfig_set_string(&context, "upperdir", &dirs.upper)?;
    fsconfig_set_string(&context, "workdir", &dirs.work)?;
    fsconfig_set_flag(&context, "volatile")?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(&mount, "", CWD, &dirs.merged, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn mount_by_options(lowers: &[PathBuf], dirs: &RootfsDirs) -> io::Result<()> {
    let open = lowers.iter().map(File::open).collect::<io::Result<Vec<_>>>()?;
    let (upper, work) = (File::open(&dirs.upper)?, File::open(&dirs.work)?);
    let path = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
    let lower = open.iter().map(path).collect::<Vec<_>>().join(":");
    let options = format!("lowerdir={lower},upperdir={},workdir={},volatile", path(&upper), path(&work));
    let options = std::ffi::CString::new(options)?;
    Ok(rustix::mount::mount("overlay", &dirs.merged, "overlay", MountFlags::empty(), Some(options.as_c_str()))?)
}

/// Unmounts and removes a container's layer. What isn't there is no error.
pub fn release(store: &Store, container: &ContainerId) -> Result<()> {
    let dirs = RootfsDirs::new(store, container)?;
    while is_mounted(&dirs.merged) {
        unmount(&dirs.merged, UnmountFlags::DETACH).map_err(|e| Error::Mount {
            container: container.to_string(),
            step: "unmounting".to_owned(),
            source: e.into(),
        })?;
    }
    match fs::remove_dir_all(&dirs.base) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", dirs.base)(e)),
        _ => Ok(()),
    }
}

/// The writable layer's use of the disk.
pub fn usage(store: &Store, container: &ContainerId) -> Result<FsStats> {
    let dirs = RootfsDirs::new(store, container)?;
    if !dirs.upper.is_dir() {
        return Err(Error::NotFound(container.to_string()));
    }
    disk_usage(&dirs.upper)
}

/// Bytes (as allocated) and inodes below a directory, without leaving it; what vanishes meanwhile isn't counted.
pub fn disk_usage(root: &Path) -> Result<FsStats> {
    let mut stats = FsStats::default();
    let mut linked = BTreeSet::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(Error::io("measuring", &path))?,
        };
        if metadata.nlink() > 1 && !metadata.is_dir() && !linked.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        stats.used += metadata.blocks() * 512;
        stats.inodes_used += 1;
        if metadata.is_dir() {
            match fs::read_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => pending.extend(other.map_err(Error::io("listing", &path))?.filter_map(|entry| Some(entry.ok()?.path()))),
            }
        }
    }
    Ok(stats)
}

/// Containers that have a directory, and the layers that they stand on.
pub fn prepared(store: &Store) -> Result<Vec<Prepared>> {
    let dir = store.rootfs_dir();
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::io("listing", &dir))? {
        let Some(name) = entry.ok().and_then(|entry| entry.file_name().into_string().ok()) else { continue };
        let layers = fs::read(dir.join(&name).join("layers.json")).unwrap_or_default();
        let image = fs::read_to_string(dir.join(&name).join("image")).ok().and_then(|text| text.parse().ok());
        found.push(Prepared { container: ContainerId::new(name), image, layers: skiff_json::from_slice(&layers).unwrap_or_default() });
    }
    Ok(found)
}

/// A container's root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub container: ContainerId,
    /// None: an older version made it.
    pub image: Option<Digest>,
    pub layers: Vec<Digest>,
}

impl Prepared {
    /// Whether it stands on this image: images may have the same layers.
    pub fn is_of(&self, image: &Digest, layers: &[Digest]) -> bool {
        self.image.as_ref().map_or_else(|| self.layers == layers, |own| own == image)
    }
}

fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).map(|m| m.dev()).ok();
    match (device(path), path.parent().and_then(device)) {
        (Some(here), Some(above)) => here != above,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn images_of_the_same_layers_have_their_own_containers() {
        let [a, b, layer] = [b"a", b"b", b"l"].map(|t| Digest::of(t));
        let of = |image: Option<&Digest>| Prepared { container: ContainerId::new("c"), image: image.cloned(), layers: vec![layer.clone()] };
        let layers = [layer.clone()];
        assert!(of(Some(&a)).is_of(&a, &layers) && !of(Some(&a)).is_of(&b, &layers));
        // What an older version made doesn't say.
        assert!(of(None).is_of(&a, &layers) && of(None).is_of(&b, &layers) && !of(None).is_of(&a, &[]));
    }
}
