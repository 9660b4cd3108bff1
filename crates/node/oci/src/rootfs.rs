//! A container's view of files.
//!
//! Every tree that comes from the host is cloned *before* propagation is cut, so that it is still a peer of the
//! host's mount; then it becomes private, slave or shared as asked, while still detached, and is put in place. Targets
//! are resolved inside the root file system, whatever links the image brings.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use skiff_sys::mount::{self, NODEV, NOEXEC, NOSUID, RDONLY};
use skiff_sys::path::{make_directory_in_root, make_file_in_root, open_directory};

use crate::cgroup::Cgroup;
use crate::devices;
use crate::error::{At, Result};
use crate::mask;
use crate::{Mount, Propagation, Spec};

/// Trees of the host, cloned but not yet placed.
struct Gathered {
    root: OwnedFd,
    shm: Option<OwnedFd>,
    mounts: Vec<(OwnedFd, bool)>,
    cgroups: Vec<(PathBuf, OwnedFd)>,
    devices: Vec<devices::Node>,
}

/// Makes the spec's root this process' root. The process is in its own mount namespace and in the namespaces and the
/// cgroup of the container already.
pub(crate) fn enter(spec: &Spec, cgroup: &Cgroup) -> Result<()> {
    let gathered = gather(spec, cgroup)?;
    mount::set_root_propagation(mount::Propagation::Private).at(|| "make mounts private".into())?;
    place_root(&spec.rootfs, &gathered.root)?;
    let root = gathered.root.as_fd();
    system_mounts(root, spec, cgroup, &gathered)?;
    devices::fill(root, &gathered.devices)?;
    for (mount, (tree, is_folder)) in spec.mounts.iter().zip(&gathered.mounts) {
        place(root, &mount.target, tree.as_fd(), *is_folder).at(|| format!("mount {}", mount.target.display()))?;
    }
    if !spec.process.cwd.is_empty() {
        // Best effort: a read-only volume may be in the way, and then entering it says so.
        let _ = make_directory_in_root(root, Path::new(&spec.process.cwd));
    }
    for path in &spec.masked_paths {
        mask::hide(root, path)?;
    }
    for path in &spec.readonly_paths {
        mask::protect(root, path)?;
    }
    if spec.readonly_rootfs {
        mount::set_attributes(root, false, RDONLY, None).at(|| "make the root file system read-only".into())?;
    }
    skiff_sys::path::enter(root).at(|| "enter the root file system".into())?;
    mount::pivot_here().at(|| "change the root".into())
}

fn gather(spec: &Spec, cgroup: &Cgroup) -> Result<Gathered> {
    let root = mount::clone_tree(None, &spec.rootfs, true).at(|| format!("open root file system {}", spec.rootfs.display()))?;
    mount::set_attributes(root.as_fd(), true, 0, Some(mount::Propagation::Private)).at(|| "make the root file system private".into())?;
    let shm = match spec.shm.as_os_str().is_empty() {
        true => None,
        false => Some(mount::clone_tree(None, &spec.shm, false).at(|| format!("open {}", spec.shm.display()))?),
    };
    let mut cgroups = Vec::new();
    for (controller, host) in cgroup.v1_mounts() {
        let Some(folder) = cgroup.folder(controller) else { continue };
        let name = host.file_name().map_or_else(|| PathBuf::from(controller), PathBuf::from);
        if cgroups.iter().any(|(known, _): &(PathBuf, OwnedFd)| *known == name) {
            continue;
        }
        let tree = mount::clone_tree(None, &folder, false).at(|| format!("open cgroup {}", folder.display()))?;
        cgroups.push((name, tree));
    }
    let mounts = spec.mounts.iter().map(source).collect::<Result<Vec<_>>>()?;
    Ok(Gathered { root, shm, mounts, cgroups, devices: devices::wanted(spec)? })
}

/// Clones what a mount brings in, with its attributes; says whether it is a folder.
fn source(wanted: &Mount) -> Result<(OwnedFd, bool)> {
    let data = match fs::metadata(&wanted.source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&wanted.source).and_then(|()| fs::metadata(&wanted.source)),
        found => found,
    };
    let data = data.at(|| format!("look at mount source {}", wanted.source.display()))?;
    let prepare = || -> io::Result<OwnedFd> {
        let tree = mount::clone_tree(None, &wanted.source, true)?;
        let propagation = match wanted.propagation {
            Propagation::Private => mount::Propagation::Private,
            Propagation::HostToContainer => mount::Propagation::Slave,
            Propagation::Bidirectional => mount::Propagation::Shared,
        };
        mount::set_attributes(tree.as_fd(), true, 0, Some(propagation))?;
        if wanted.readonly {
            mount::set_attributes(tree.as_fd(), wanted.recursive_readonly, RDONLY, None)?;
        }
        Ok(tree)
    };
    let tree = prepare().at(|| format!("prepare mount of {}", wanted.source.display()))?;
    Ok((tree, data.is_dir()))
}

fn place_root(path: &Path, root: &OwnedFd) -> Result<()> {
    let place = || -> io::Result<()> { mount::attach(root.as_fd(), open_directory(path)?.as_fd()) };
    place().at(|| format!("place root file system {}", path.display()))
}

fn place(root: BorrowedFd<'_>, target: &Path, tree: BorrowedFd<'_>, is_folder: bool) -> io::Result<()> {
    let at = if is_folder { make_directory_in_root(root, target)? } else { make_file_in_root(root, target)? };
    mount::attach(tree, at.as_fd())
}

fn system_mounts(root: BorrowedFd<'_>, spec: &Spec, cgroup: &Cgroup, gathered: &Gathered) -> Result<()> {
    let fresh = |target: &str, kind: &str, options: &[(&str, Option<&str>)], attributes: u64| {
        let make = || place(root, Path::new(target), mount::new_filesystem(kind, options, attributes)?.as_fd(), true);
        make().at(|| format!("mount {kind} on /{target}"))
    };
    let readonly = if spec.sys_writable { 0 } else { RDONLY };
    fresh("proc", "proc", &[], NOSUID | NOEXEC | NODEV)?;
    fresh("dev", "tmpfs", &[("mode", Some("755")), ("size", Some("65536k"))], NOSUID)?;
    let terminals = [("ptmxmode", Some("0666")), ("mode", Some("0620")), ("gid", Some("5"))];
    fresh("dev/pts", "devpts", &terminals, NOSUID | NOEXEC)?;
    fresh("dev/mqueue", "mqueue", &[], NOSUID | NOEXEC | NODEV)?;
    match &gathered.shm {
        Some(shm) => place(root, Path::new("dev/shm"), shm.as_fd(), true).at(|| "mount /dev/shm".into())?,
        None => fresh("dev/shm", "tmpfs", &[("mode", Some("1777")), ("size", Some("65536k"))], NOSUID | NOEXEC | NODEV)?,
    }
    fresh("sys", "sysfs", &[], NOSUID | NOEXEC | NODEV | readonly)?;
    if cgroup.is_v2() {
        return fresh("sys/fs/cgroup", "cgroup2", &[], NOSUID | NOEXEC | NODEV | readonly);
    }
    fresh("sys/fs/cgroup", "tmpfs", &[("mode", Some("755"))], NOSUID | NOEXEC | NODEV)?;
    for (name, tree) in &gathered.cgroups {
        let put = || -> io::Result<()> {
            mount::set_attributes(tree.as_fd(), false, NOSUID | NOEXEC | NODEV | readonly, Some(mount::Propagation::Private))?;
            place(root, &Path::new("sys/fs/cgroup").join(name), tree.as_fd(), true)
        };
        put().at(|| format!("mount cgroup {}", name.display()))?;
    }
    let seal = || -> io::Result<()> {
        let folder = skiff_sys::path::open_in_root(root, Path::new("sys/fs/cgroup"), libc::O_PATH | libc::O_DIRECTORY)?;
        mount::set_attributes(folder.as_fd(), false, readonly, None)
    };
    seal().at(|| "make /sys/fs/cgroup read-only".into())
}
