//! Bytes with file descriptors over a Unix socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::check;

/// More than this many in one message are refused.
pub const MAX_FDS: usize = 4;

#[repr(C)]
union Control {
    _align: libc::cmsghdr,
    bytes: [u8; 64],
}

fn message(iov: &mut libc::iovec, control: &mut Control, length: usize) -> libc::msghdr {
    // SAFETY: all zero is a valid msghdr: null pointers with zero lengths.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = iov;
    header.msg_iovlen = 1;
    if length > 0 {
        header.msg_control = (control as *mut Control).cast();
        header.msg_controllen = length as _;
    }
    header
}

/// Sends some of `bytes`, and the descriptors with the first of them. Answers how many bytes went.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control { bytes: [0; 64] };
    let payload = std::mem::size_of_val(fds) as u32;
    // SAFETY: pure arithmetic.
    let space = if fds.is_empty() { 0 } else { unsafe { libc::CMSG_SPACE(payload) as usize } };
    let header = message(&mut iov, &mut control, space);
    if !fds.is_empty() {
        // SAFETY: `control` is aligned for cmsghdr and has room for MAX_FDS descriptors, checked above.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(payload) as _;
            let slots = libc::CMSG_DATA(first).cast::<libc::c_int>();
            for (at, fd) in fds.iter().enumerate() {
                slots.add(at).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    // SAFETY: the header and everything it points to live until the call returns.
    check(unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_NOSIGNAL) } as _).map(|sent| sent as usize)
}

/// Receives some bytes and adds the descriptors that came with them. Zero is the end of the stream.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control { bytes: [0; 64] };
    // SAFETY: pure arithmetic.
    let space = unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<libc::c_int>()) as u32) as usize };
    let mut header = message(&mut iov, &mut control, space);
    // SAFETY: the header and everything it points to live until the call returns.
    let received = check(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_CMSG_CLOEXEC) } as _)?;
    // SAFETY: the kernel wrote the control messages; the macros stay inside msg_controllen.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&header);
        while !at.is_null() {
            if (*at).cmsg_level == libc::SOL_SOCKET && (*at).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*at).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let slots = libc::CMSG_DATA(at).cast::<libc::c_int>();
                for slot in 0..bytes / size_of::<libc::c_int>() {
                    fds.push(OwnedFd::from_raw_fd(slots.add(slot).read_unaligned()));
                }
            }
            at = libc::CMSG_NXTHDR(&header, at);
        }
    }
    Ok(received as usize)
}
