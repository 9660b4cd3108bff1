//! Taking a pod's volumes away, and finding what a past life of the node left.
//!
//! Nothing is remembered: mounts are read from the mount table, folders from the disk. First every mount below the
//! pod's folder goes, the latest first, then files. Removing never follows a link and never crosses into a mount, so
//! a mount that could not be taken away keeps its contents.
use crate::apply::{SHARED, device_mount, used_by_others};
use crate::error::TearDownError;
use crate::sys;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What this crate makes in a pod's folder.
const OURS: [&str; 4] = ["volume-subpaths", "volumeDevices", "volumes", "plugins"];
/// Folders nested deeper than this are moved up before they are removed.
const MAX_DEPTH: usize = 64;

/// Takes all volumes of the pod away. What isn't there is no error; other things in the folder stay.
pub fn tear_down(pod_dir: &Path) -> Result<(), TearDownError> {
    let pod_dir = match fs::canonicalize(pod_dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(TearDownError::io("resolving", pod_dir))?,
    };
    let _alone = SHARED.lock();
    let devices = local_volumes(&pod_dir);
    let ours: Vec<PathBuf> = OURS.iter().map(|n| pod_dir.join(n)).collect();
    let mounts = || -> Result<Vec<PathBuf>, TearDownError> {
        let all = sys::mounts_below(&pod_dir).map_err(TearDownError::io("reading the mounts below", &pod_dir))?;
        Ok(all.into_iter().filter(|m| ours.iter().any(|o| m.starts_with(o))).collect())
    };
    for mount in mounts()? {
        match sys::detach(&mount) {
            // Gone already with what it was mounted on.
            Err(e) if matches!(e.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::INVAL | Errno::NOENT)) => {}
            other => other.map_err(TearDownError::io("unmounting", &mount))?,
        }
    }
    if let Some(left) = mounts()?.pop() {
        return Err(TearDownError::Mounted(left));
    }
    let dir = sys::open_dir(&pod_dir).map_err(TearDownError::io("opening", &pod_dir))?;
    for name in OURS {
        let c_name = std::ffi::CString::new(name).unwrap_or_default();
        remove(&dir, &c_name).map_err(TearDownError::io("removing", &pod_dir.join(name)))?;
    }
    devices.iter().filter(|n| !used_by_others(&pod_dir, n)).try_for_each(|name| release_device(&pod_dir, name))
}

fn local_volumes(pod_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(pod_dir.join("volumes/kubernetes.io~local-volume"));
    entries.into_iter().flatten().filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}

fn release_device(pod_dir: &Path, name: &str) -> Result<(), TearDownError> {
    let Some(mount) = device_mount(pod_dir, name) else { return Ok(()) };
    if sys::is_mount(&mount).map_err(TearDownError::io("looking at", &mount))? {
        sys::detach(&mount).map_err(TearDownError::io("unmounting", &mount))?;
    }
    match fs::remove_dir(&mount) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(TearDownError::io("removing", &mount)(e)),
        _ => Ok(()),
    }
}

/// Removes what has this name, with everything below it.
fn remove(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    let mut moved = 0;
    remove_entry(parent, parent.as_fd(), name, 0, &mut moved)?;
    // What was moved up may bring more up.
    let mut n = 0;
    while n < moved {
        remove_entry(parent, parent.as_fd(), &aside(n), 0, &mut moved)?;
        n += 1;
    }
    Ok(())
}

fn aside(n: u64) -> std::ffi::CString {
    std::ffi::CString::new(format!(".removed-{n}")).unwrap_or_default()
}

fn remove_entry(top: &OwnedFd, parent: std::os::fd::BorrowedFd<'_>, name: &CStr, depth: usize, moved: &mut u64) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    if depth > MAX_DEPTH {
        while renameat_with(parent, name, top, aside(*moved).as_c_str(), RenameFlags::NOREPLACE) == Err(Errno::EXIST) {
            *moved += 1;
        }
        *moved += 1;
        return Ok(());
    }
    // A mount point, even of the same file system, is another world: EXDEV.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let dir = openat2(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    for child in sys::names(&dir)? {
        remove_entry(top, dir.as_fd(), &child, depth + 1, moved)?;
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// A volume that the disk shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundVolume {
    /// `configmap`, `empty-dir`, `local-volume`, …
    pub plugin: String,
    /// Of the volume; for claims of the PersistentVolume.
    pub name: String,
    pub path: PathBuf,
    pub mounted: bool,
}

/// The volumes that a pod's folder has, as left by this or an earlier process.
pub fn found(pod_dir: &Path) -> io::Result<Vec<FoundVolume>> {
    let mut all = Vec::new();
    for plugin in listed(&pod_dir.join("volumes"))? {
        let Some(short) = plugin.strip_prefix("kubernetes.io~") else { continue };
        for name in listed(&pod_dir.join("volumes").join(&plugin))? {
            let path = pod_dir.join("volumes").join(&plugin).join(&name);
            let mounted = sys::is_mount(&path)?;
            all.push(FoundVolume { plugin: short.to_owned(), name, path, mounted });
        }
    }
    all.sort();
    Ok(all)
}

fn listed(dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.filter_map(|e| e.map(|e| e.file_name().into_string().ok()).transpose()).collect(),
    }
}

/// Uids of pods that have folders but that nobody knows any more.
pub fn orphans(pods_dir: &Path, known: &BTreeSet<String>) -> io::Result<Vec<String>> {
    Ok(listed(pods_dir)?.into_iter().filter(|uid| !known.contains(uid)).collect())
}
