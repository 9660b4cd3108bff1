//! The mount interface of Linux 5.2 and later: trees are made detached, set up, and put in place in one step.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::null;

use crate::{c_string, check, check_int};

pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

const FSCONFIG_SET_FLAG: libc::c_int = 0;
const FSCONFIG_SET_STRING: libc::c_int = 1;
const FSCONFIG_CMD_CREATE: libc::c_int = 6;
const OPEN_TREE_CLONE: libc::c_int = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_int = 0x40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Slave,
    Shared,
}

impl Propagation {
    fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
        }
    }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    // SAFETY: the calls that end here answer a new descriptor.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// A new file system of this type, detached. Options without a value are flags.
pub fn new_filesystem(kind: &str, options: &[(&str, Option<&str>)], attributes: u64) -> io::Result<OwnedFd> {
    let kind_c = c_string(kind)?;
    // SAFETY: the string outlives the call.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind_c.as_ptr(), 1) })?;
    let configure = |command: libc::c_int, key: *const libc::c_char, value: *const libc::c_char| {
        // SAFETY: key and value are null or strings that outlive the call.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) })
    };
    let source = c_string("source")?;
    configure(FSCONFIG_SET_STRING, source.as_ptr(), kind_c.as_ptr())?;
    for (key, value) in options {
        let key = c_string(key)?;
        match value {
            Some(value) => configure(FSCONFIG_SET_STRING, key.as_ptr(), c_string(value)?.as_ptr())?,
            None => configure(FSCONFIG_SET_FLAG, key.as_ptr(), null())?,
        };
    }
    configure(FSCONFIG_CMD_CREATE, null(), null())?;
    // SAFETY: no memory is passed.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, attributes as libc::c_uint) })
}

/// A detached copy of what is mounted at a path, with everything below when `recursive`.
pub fn clone_tree(directory: Option<BorrowedFd<'_>>, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let at = directory.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    let path = c_string(path)?;
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    // SAFETY: the string outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, at, path.as_ptr(), flags) })
}

/// Sets attributes and propagation of a mount, detached or not.
pub fn set_attributes(tree: BorrowedFd<'_>, recursive: bool, attributes: u64, propagation: Option<Propagation>) -> io::Result<()> {
    set(tree, recursive, attributes, propagation.map_or(0, Propagation::flag))
}

fn set(tree: BorrowedFd<'_>, recursive: bool, attributes: u64, propagation: u64) -> io::Result<()> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure outlives the call and its size is passed.
    let result = unsafe { libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, &change, size_of::<libc::mount_attr>()) };
    check(result).map(|_| ())
}

/// Puts a detached tree onto a place that was opened with `O_PATH`.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are empty strings.
    let result = unsafe { libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), c"".as_ptr(), target.as_raw_fd(), c"".as_ptr(), flags) };
    check(result).map(|_| ())
}

/// Changes the propagation of everything that this mount namespace has.
pub fn set_root_propagation(propagation: Propagation) -> io::Result<()> {
    let flags = propagation.flag() | libc::MS_REC;
    // SAFETY: source, type and data are not read for a change of propagation.
    check_int(unsafe { libc::mount(null(), c"/".as_ptr(), null(), flags, null()) }).map(|_| ())
}

/// A bind mount of one file or folder onto another in the caller's namespace.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    let (source, target) = (c_string(source)?, c_string(target)?);
    // SAFETY: both strings outlive the call.
    check_int(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), null(), libc::MS_BIND, null()) }).map(|_| ())
}

/// Takes the topmost mount at a path away, at once for those who look, later for those who use it.
pub fn detach(target: &Path) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: the string outlives the call.
    check_int(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) }).map(|_| ())
}

/// Makes the current folder, a mount point, the root of this mount namespace and drops the old root.
pub fn pivot_here() -> io::Result<()> {
    // SAFETY: constant strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    // The old root now lies on top of the new one.
    check_int(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) })?;
    std::env::set_current_dir("/")
}
