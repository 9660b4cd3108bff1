//! Paths that can't leave a root, whatever symbolic links an image brings.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use crate::{c_string, check, check_int};

/// Opens a path as if `root` were `/`.
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: all zero is a valid open_how.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    let path = c_string(if path.as_os_str().is_empty() { Path::new(".") } else { path })?;
    loop {
        // SAFETY: the string and the structure outlive the call; the size is passed.
        let fd = unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &how, size_of::<libc::open_how>()) };
        match check(fd) {
            // A rename elsewhere on the machine interrupted the walk.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => continue,
            // SAFETY: a new descriptor, owned from here on.
            fd => return fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }),
        }
    }
}

pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: the string outlives the call; the descriptor is new.
    unsafe { check_int(libc::open(path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Opens a folder in the root, made with its parents where missing.
pub fn make_directory_in_root(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let mut so_far = PathBuf::new();
    let mut at = root.try_clone_to_owned()?;
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                so_far.push(name);
                at = match open_in_root(root, &so_far, libc::O_PATH | libc::O_DIRECTORY) {
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                        make_directory_at(at.as_fd(), name)?;
                        open_in_root(root, &so_far, libc::O_PATH | libc::O_DIRECTORY)?
                    }
                    opened => opened?,
                };
            }
            Component::ParentDir => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
            _ => {}
        }
    }
    Ok(at)
}

/// Opens a file in the root as a place for a mount, made empty with its parents where missing.
pub fn make_file_in_root(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    match open_in_root(root, path, libc::O_PATH) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        opened => return opened,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let parent = make_directory_in_root(root, parent)?;
    let name = c_string(name)?;
    // SAFETY: the string outlives the call; the descriptor is new.
    let made = unsafe {
        check_int(libc::openat(parent.as_raw_fd(), name.as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_WRONLY, 0o644))
            .map(|fd| OwnedFd::from_raw_fd(fd))
    };
    match made {
        Ok(_) => {}
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(error),
    }
    open_in_root(root, path, libc::O_PATH)
}

fn make_directory_at(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the string outlives the call.
    match check_int(unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755) }) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => Err(error),
        _ => Ok(()),
    }
}

/// A device node with this mode, whatever the umask; replaces nothing.
pub fn make_device(parent: BorrowedFd<'_>, name: &OsStr, mode: libc::mode_t, device: libc::dev_t) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the string outlives the call.
    check_int(unsafe { libc::mknodat(parent.as_raw_fd(), name.as_ptr(), mode, device) })?;
    // SAFETY: as above.
    check_int(unsafe { libc::fchmodat(parent.as_raw_fd(), name.as_ptr(), mode & 0o7777, 0) }).map(|_| ())
}

pub fn symlink_at(target: &str, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let (target, name) = (c_string(target)?, c_string(name)?);
    // SAFETY: both strings outlive the call.
    check_int(unsafe { libc::symlinkat(target.as_ptr(), parent.as_raw_fd(), name.as_ptr()) }).map(|_| ())
}

/// Makes an `O_PATH` descriptor of a folder the current one.
pub fn enter(directory: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::fchdir(directory.as_raw_fd()) }).map(|_| ())
}
