//! Network namespaces by path. A thread of its own enters them: no other thread of the process changes its namespace.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::{NetlinkError, Result};

/// Runs `work` on a new thread inside the namespace at `path` and returns its value.
pub fn in_netns<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let step = format!("enter the network namespace {}", path.display());
    let file = File::open(path).map_err(|source| NetlinkError::system(&step, source))?;
    let entered = std::thread::spawn(move || {
        // SAFETY: the descriptor is open; only this thread changes its namespace, and it ends here.
        match unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } {
            0 => Ok(work()),
            _ => Err(io::Error::last_os_error()),
        }
    })
    .join();
    match entered {
        Ok(outcome) => outcome.map_err(|source| NetlinkError::system(step, source)),
        Err(_) => Err(NetlinkError::system(step, io::Error::other("the thread panicked"))),
    }
}

/// Makes a new namespace and pins it at `path` by a bind mount. Its `lo` is down.
pub fn make_netns(path: &Path) -> Result<()> {
    let step = format!("make the network namespace {}", path.display());
    let fail = |source| NetlinkError::system(&step, source);
    File::create(path).map_err(fail)?;
    let target = c_path(path).map_err(fail)?;
    let made = std::thread::spawn(move || {
        // SAFETY: only this thread is moved; both strings are terminated and outlive the call.
        unsafe {
            if libc::unshare(libc::CLONE_NEWNET) != 0 {
                return Err(io::Error::last_os_error());
            }
            let source = c"/proc/thread-self/ns/net";
            match libc::mount(source.as_ptr(), target.as_ptr(), c"none".as_ptr(), libc::MS_BIND, std::ptr::null()) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        }
    })
    .join();
    made.unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))).map_err(fail)
}

/// Takes the pin away; the namespace goes with its last process and socket.
pub fn remove_netns(path: &Path) -> Result<()> {
    let step = format!("remove the network namespace {}", path.display());
    let target = c_path(path).map_err(|source| NetlinkError::system(&step, source))?;
    // SAFETY: the string is terminated and outlives the call.
    unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(NetlinkError::system(step, source)),
        _ => Ok(()),
    }
}

fn c_path(path: &Path) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
