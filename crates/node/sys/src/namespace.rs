//! Joining and leaving namespaces.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use crate::{c_string, check_int};

pub const NET: libc::c_int = libc::CLONE_NEWNET;
pub const IPC: libc::c_int = libc::CLONE_NEWIPC;
pub const UTS: libc::c_int = libc::CLONE_NEWUTS;
pub const PID: libc::c_int = libc::CLONE_NEWPID;
pub const MNT: libc::c_int = libc::CLONE_NEWNS;
pub const CGROUP: libc::c_int = libc::CLONE_NEWCGROUP;

/// Joins one namespace by its file, or several by a pidfd.
pub fn join(fd: BorrowedFd<'_>, kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::setns(fd.as_raw_fd(), kinds) }).map(|_| ())
}

pub fn join_path(path: &Path, kind: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsFd;
    join(File::open(path)?.as_fd(), kind)
}

pub fn unshare(kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::unshare(kinds) }).map(|_| ())
}

pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length belong together.
    check_int(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(|_| ())
}

/// Brings the loopback interface of the caller's network namespace up.
pub fn loopback_up() -> io::Result<()> {
    use std::os::fd::FromRawFd;
    // SAFETY: a new descriptor, owned from here on.
    let socket = unsafe {
        let fd = check_int(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        std::os::fd::OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq.
    check_int(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) }).map(|_| ())
}

/// Takes a file system of a path away or, for a pinned namespace, its pin.
pub fn unpin(path: &Path) -> io::Result<()> {
    let target = c_string(path)?;
    // SAFETY: the string outlives the call.
    match check_int(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Err(error),
        _ => Ok(()),
    }
}
