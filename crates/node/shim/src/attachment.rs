//! Clients that look at a container's streams live.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// More than this waiting for a client holds the container's output up.
const MAX_WAITING: usize = 256 << 10;
/// A client that took nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);

/// One way out to a client.
pub(crate) struct Outlet {
    pub file: File,
    waiting: Vec<u8>,
    stalled: Option<Instant>,
    pub closed: bool,
}

impl Outlet {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let _ = skiff_sys::process::set_nonblocking(std::os::fd::AsFd::as_fd(&fd));
        Self { file: File::from(fd), waiting: Vec::new(), stalled: None, closed: false }
    }

    pub(crate) fn send(&mut self, data: &[u8]) {
        if !self.closed {
            self.waiting.extend_from_slice(data);
            self.flush();
        }
    }

    pub(crate) fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.file.write(&self.waiting) {
                Ok(0) => return self.close(),
                Ok(count) => {
                    self.waiting.drain(..count);
                    self.stalled = None;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let since = *self.stalled.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        self.close();
                    }
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.close(),
            }
        }
        self.waiting = Vec::new();
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.waiting = Vec::new();
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() > MAX_WAITING
    }
}

pub(crate) struct Attachment {
    pub stdin: Option<File>,
    pub stdout: Outlet,
    pub stderr: Outlet,
}

impl Attachment {
    pub(crate) fn new([stdin, stdout, stderr]: [OwnedFd; 3]) -> Self {
        let _ = skiff_sys::process::set_nonblocking(std::os::fd::AsFd::as_fd(&stdin));
        Self { stdin: Some(File::from(stdin)), stdout: Outlet::new(stdout), stderr: Outlet::new(stderr) }
    }

    /// Input of the client: None while there is none, empty at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self.stdin.as_mut()?.read(buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
            Ok(count) if count > 0 => Some(count),
            _ => {
                self.stdin = None;
                Some(0)
            }
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.stdout.closed && self.stderr.closed && self.stdin.is_none()
    }

    pub(crate) fn is_flushed(&self) -> bool {
        !self.stdout.is_waiting() && !self.stderr.is_waiting()
    }
}
