//! Pseudo terminals.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::check_int;

/// Opens a new terminal of the devpts that is mounted where `ptmx` lies: master, slave, and the slave's number.
pub fn open(ptmx: &std::path::Path) -> io::Result<(OwnedFd, OwnedFd, u32)> {
    let path = crate::c_string(ptmx)?;
    // SAFETY: the string outlives the call; descriptors are new; ioctl writes what it is given room for.
    unsafe {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let master = OwnedFd::from_raw_fd(check_int(libc::open(path.as_ptr(), flags))?);
        let unlocked: libc::c_int = 0;
        check_int(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &unlocked))?;
        let mut number: libc::c_uint = 0;
        check_int(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as _, &mut number))?;
        let slave = OwnedFd::from_raw_fd(check_int(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER as _, flags))?);
        Ok((master, slave, number))
    }
}

/// Makes the terminal the controlling one of the caller's session.
pub fn control(slave: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument is a number.
    check_int(unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY as _, 0) }).map(|_| ())
}

pub fn resize(master: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize.
    check_int(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ as _, &size) }).map(|_| ())
}
