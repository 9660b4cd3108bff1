//! Making, watching and ending processes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{check, check_int};

/// What [`clone3`] answers on its two sides.
pub enum Forked {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// Forks into new namespaces.
///
/// # Safety
/// The caller has exactly one thread: in the child only that one lives on, and locks held by others stay locked.
pub unsafe fn clone3(namespaces: libc::c_int) -> io::Result<Forked> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all zero is a valid clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (namespaces | libc::CLONE_PIDFD) as u32 as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM and with no stack given it returns twice like fork; the caller has one thread.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: the kernel stored a new descriptor.
    Ok(Forked::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

pub fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: a new descriptor, owned from here on.
    check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Sends a signal to exactly the process that the descriptor names. One that has ended is no error.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo is allowed.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0) };
    match check(result) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Takes the status of one child that has ended: its pid and its code, 128 + n after signal n.
pub fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, exit_code(status)))
}

/// Waits for one child.
pub fn wait(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the status outlives the call.
        match check_int(unsafe { libc::waitpid(pid, &mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result.map(|_| exit_code(status)),
        }
    }
}

fn exit_code(status: libc::c_int) -> i32 {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Orphaned descendants become this process' children.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(|_| ())
}

pub fn new_session() -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::setsid() }).map(|_| ())
}

/// The name that `ps` shows.
pub fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the string is terminated; the kernel copies at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// The kernel kills this process when its parent ends.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }).map(|_| ())
}

/// Others in the same namespaces may not look into this process or at its program's file.
pub fn set_undumpable() -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(|_| ())
}

pub fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(|_| ())
}

/// Groups first, then group, then user: afterwards there is no way back.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // The raw calls change this thread only: there is no other.
    // SAFETY: pointer and length belong together.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

pub fn change_owner(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::fchown(fd.as_raw_fd(), uid, gid) }).map(|_| ())
}

/// Every descriptor from `first` on closes when a program is executed.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(|_| ())
}

/// Makes `fd` the descriptor `number` of this process, which stays open over exec.
pub fn place(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
    if fd.as_raw_fd() == number {
        check_int(unsafe { libc::fcntl(number, libc::F_SETFD, 0) })?;
    }
    Ok(())
}

/// Replaces this process' program; returns only an error.
pub fn execute(program: &std::path::Path, argv: &[String], env: &[String]) -> io::Error {
    let strings = |list: &[String]| list.iter().map(crate::c_string).collect::<io::Result<Vec<_>>>();
    let run = || -> io::Result<()> {
        let (program, argv, env) = (crate::c_string(program)?, strings(argv)?, strings(env)?);
        let pointers = |list: &[std::ffi::CString]| list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
        // SAFETY: both arrays end with null and live, as their strings do, until the call returns.
        check_int(unsafe { libc::execve(program.as_ptr(), pointers(&argv).as_ptr(), pointers(&env).as_ptr()) })?;
        Ok(())
    };
    run().err().unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Ends this process without running anything that was registered to run at exit.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which are new.
    unsafe {
        check_int(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    unsafe {
        let flags = check_int(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check_int(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

pub fn set_umask(mask: libc::mode_t) {
    // SAFETY: no memory is passed.
    unsafe { libc::umask(mask) };
}

/// Closes every descriptor from `first` on.
pub fn close_all_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller knows that nothing of it is used any more.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(|_| ())
}
