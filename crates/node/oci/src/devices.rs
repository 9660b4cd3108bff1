//! /dev: the nodes that every container has, and those that it asks for.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use skiff_sys::path::{make_device, make_directory_in_root, open_in_root, symlink_at};

use crate::error::{At, Result};
use crate::{Device, Spec};

const NODES: [(&str, u32, u32); 6] = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] =
    [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx")];

/// A node of the host, read before the host's root is left.
pub(crate) struct Node {
    target: PathBuf,
    mode: u32,
    device: u64,
    uid: u32,
    gid: u32,
}

/// The devices that the spec asks for.
pub(crate) fn wanted(spec: &Spec) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    if spec.all_devices {
        gather(Path::new("/dev"), &mut nodes);
    }
    for device in &spec.devices {
        let data = fs::metadata(&device.source).at(|| format!("look at device {}", device.source.display()))?;
        if data.is_dir() {
            gather(&device.source, &mut nodes);
        } else {
            nodes.push(node(&device.target, &data));
        }
    }
    Ok(nodes)
}

fn node(target: &Path, data: &fs::Metadata) -> Node {
    Node { target: target.to_owned(), mode: data.mode(), device: data.rdev(), uid: data.uid(), gid: data.gid() }
}

fn is_device(kind: fs::FileType) -> bool {
    kind.is_char_device() || kind.is_block_device()
}

fn gather(folder: &Path, nodes: &mut Vec<Node>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let own = ["pts", "shm", "fd", "mqueue", "console"].iter().any(|name| entry.file_name() == *name);
        match entry.metadata() {
            Ok(data) if data.is_dir() && !own => gather(&path, nodes),
            Ok(data) if is_device(data.file_type()) && !own => nodes.push(node(&path, &data)),
            _ => {}
        }
    }
}

/// Rules of the v1 controller for the spec's own devices.
pub(crate) fn rules(devices: &[Device]) -> Vec<String> {
    let rule = |device: &Device| {
        let data = fs::metadata(&device.source).ok()?;
        let kind = if data.file_type().is_block_device() { 'b' } else { 'c' };
        let (major, minor) = (libc::major(data.rdev()), libc::minor(data.rdev()));
        is_device(data.file_type()).then(|| format!("{kind} {major}:{minor} {}", device.permissions))
    };
    devices.iter().filter_map(rule).collect()
}

/// Fills a fresh /dev.
pub(crate) fn fill(root: BorrowedFd<'_>, wanted: &[Node]) -> Result<()> {
    let dev = make_directory_in_root(root, Path::new("dev")).at(|| "open /dev".into())?;
    for (name, major, minor) in NODES {
        let made = make_device(dev.as_fd(), OsStr::new(name), libc::S_IFCHR | 0o666, libc::makedev(major, minor));
        made.at(|| format!("make /dev/{name}"))?;
    }
    for (name, target) in LINKS {
        symlink_at(target, dev.as_fd(), name).at(|| format!("link /dev/{name}"))?;
    }
    for node in wanted {
        add(root, node).at(|| format!("make device {}", node.target.display()))?;
    }
    Ok(())
}

fn add(root: BorrowedFd<'_>, node: &Node) -> std::io::Result<()> {
    let (Some(parent), Some(name)) = (node.target.parent(), node.target.file_name()) else { return Ok(()) };
    let parent = make_directory_in_root(root, parent)?;
    match make_device(parent.as_fd(), name, node.mode, node.device) {
        // One of the usual nodes, or a link of the same name.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    let opened = open_in_root(root, &node.target, libc::O_PATH | libc::O_NOFOLLOW)?;
    let through_proc = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened));
    fs::set_permissions(&through_proc, fs::Permissions::from_mode(node.mode & 0o7777))?;
    std::os::unix::fs::chown(&through_proc, Some(node.uid), Some(node.gid))
}
