//! Installing a filter. Building it is the oci crate's.

use std::io;

use crate::check;

/// One instruction of a classic BPF program, as the kernel reads it.
pub type Instruction = libc::sock_filter;

/// Installs a filter for this thread. Needs either no_new_privs or CAP_SYS_ADMIN, and sets neither.
pub fn install(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: length and pointer belong together; the kernel only reads.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) }).map(|_| ())
}
