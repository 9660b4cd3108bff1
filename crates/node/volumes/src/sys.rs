//! Descriptors that don't follow links, the mount table, mounts.
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, openat, openat2, statx};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The path of an open file, for calls that take no descriptor.
pub(crate) fn magic(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?)
}

/// What is at a path below `dir`, by a way without any symbolic link; a link at its end is opened itself.
pub(crate) fn open_beneath(dir: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(dir.as_fd(), path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) => continue,
            other => return Ok(other?),
        }
    }
}

/// Names in an open folder.
pub(crate) fn names(dir: impl AsFd) -> io::Result<Vec<CString>> {
    let mut all = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            all.push(name);
        }
    }
    Ok(all)
}

/// Whether something is mounted exactly there. What isn't there is no mount.
pub(crate) fn is_mount(path: &Path) -> io::Result<bool> {
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE) {
        Ok(s) if s.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => Ok(s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Ok(_) => Ok(mounts_below(path)?.iter().any(|m| m == path)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

pub(crate) fn tmpfs(target: &Path, size: Option<u64>) -> io::Result<()> {
    let size = size.map(|s| format!("size={s}"));
    let with = |more: Option<&str>| {
        let options = size.as_deref().into_iter().chain(more).collect::<Vec<_>>().join(",");
        let options = CString::new(options)?;
        Ok(mount("tmpfs", target, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))?)
    };
    // Kernels before 6.4 don't know the option that keeps secrets out of the swap.
    match with(Some("noswap")) {
        Err(e) if io::Error::raw_os_error(&e) == Some(rustix::io::Errno::INVAL.raw_os_error()) => with(None),
        other => other,
    }
}

pub(crate) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount_bind(source, target)?)
}

pub(crate) fn make_read_only(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"")?)
}

/// Away at once for those who look, later for those who still use it.
pub(crate) fn detach(target: &Path) -> io::Result<()> {
    Ok(unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// Mount points at and below a path, latest first. The path has no links in it.
pub(crate) fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = mount_points(&table).filter(|p| p.starts_with(path)).collect();
    found.reverse();
    Ok(found)
}

/// The fifth field of each line, with its octal escapes undone.
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    let field = |line: &[u8]| Some(PathBuf::from(OsString::from_vec(unescaped(line.split(|b| *b == b' ').nth(4)?))));
    table.split(|b| *b == b'\n').filter_map(field)
}

fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|d| first == b'\\' && d.iter().all(|c| (b'0'..b'8').contains(c)));
        match octal {
            Some(digits) => {
                out.push(digits.iter().fold(0u32, |n, d| n * 8 + u32::from(d - b'0')) as u8);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn mount_table() {
        let table = b"22 1 0:20 / / rw - ext4 /dev/vda rw\n30 22 0:30 / /a\\040b\\134c rw shared:1 - tmpfs tmpfs rw\nshort line\n";
        let points: Vec<PathBuf> = mount_points(table).collect();
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/a b\\c")]);
    }
}
