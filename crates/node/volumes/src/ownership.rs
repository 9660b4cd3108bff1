//! The pod's group as owner of a volume (fsGroup).
//! <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods>
//!
//! Each file is changed through a descriptor that followed no link: a container may be changing the same tree.
use crate::sys;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawMode, chownat, fstat};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAX_DEPTH: usize = 256;
const SETGID: u32 = 0o2000;

/// Gives everything in the folder to the group, readable (and writable, unless `read_only`), new files inheriting it.
pub(crate) fn give(dir: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let root = sys::open_dir(dir)?;
    walk(root, group, read_only, 0)
}

/// The policy OnRootMismatch: whether the root of the volume is as [`give`] leaves it.
pub(crate) fn root_matches(dir: &Path, group: u32, read_only: bool) -> bool {
    let Ok(stat) = sys::open_dir(dir).and_then(|d| Ok(fstat(d)?)) else { return false };
    let wanted = wanted_bits(true, read_only);
    stat.st_gid == group && stat.st_mode & wanted == wanted
}

fn wanted_bits(is_dir: bool, read_only: bool) -> u32 {
    let access = if read_only { 0o440 } else { 0o660 };
    if is_dir { access | 0o110 | SETGID } else { access }
}

fn walk(dir: OwnedFd, group: u32, read_only: bool, depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("folders are nested too deeply to change their owner"));
    }
    for name in sys::names(&dir)? {
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let opened = sys::open_beneath(&dir, path, OFlags::PATH).and_then(|f| Ok((fstat(&f)?, f)));
        let (stat, file) = match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            match sys::open_beneath(&dir, path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                opened => walk(opened?, group, read_only, depth + 1)?,
            }
        } else {
            change(&file, group, read_only)?;
        }
    }
    change(&dir, group, read_only)
}

fn change(file: impl AsFd, group: u32, read_only: bool) -> io::Result<()> {
    let stat = fstat(file.as_fd())?;
    if stat.st_gid != group {
        // Some file systems have no owners; the mode may still serve.
        if let Err(e) = chownat(file.as_fd(), "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH) {
            tracing::warn!(target: "volumes", group, error = %e, "owning group not changed");
        }
    }
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(());
    }
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let bits = stat.st_mode & 0o7777;
    // A change of owner clears set-id bits, so the mode is written even when it was right before.
    let mode: RawMode = bits | wanted_bits(is_dir, read_only);
    if (mode != bits || stat.st_gid != group)
        && let Err(e) = rustix::fs::chmod(sys::magic(&file), Mode::from_raw_mode(mode))
    {
        tracing::warn!(target: "volumes", mode, error = %e, "mode not changed");
    }
    Ok(())
}
