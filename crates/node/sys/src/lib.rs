//! System calls that the runtime needs and the standard library lacks, each as a thin safe function.
//!
//! Nothing here decides anything; errors are the kernel's own ([`std::io::Error`]). Functions that are only right in
//! a process of one thread, such as [`process::clone3`], say so.

pub mod caps;
pub mod fdpass;
pub mod mount;
pub mod namespace;
pub mod path;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod terminal;

use std::io;

/// The result of a call that answers -1 for an error.
pub(crate) fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(crate) fn check_int(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(crate) fn c_string(text: impl AsRef<std::ffi::OsStr>) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(text.as_ref().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
