//! One daemon's connection.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use skiff_sys::fdpass;

use crate::protocol::{self, Answer, Request};

pub(crate) struct Connection {
    pub id: u64,
    pub stream: UnixStream,
    received: Vec<u8>,
    fds: Vec<OwnedFd>,
    waiting: Vec<u8>,
    pub watching: bool,
    pub greeted: bool,
    pub closed: bool,
}

impl Connection {
    pub(crate) fn new(id: u64, stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { id, stream, received: Vec::new(), fds: Vec::new(), waiting: Vec::new(), watching: false, greeted: false, closed: false })
    }

    /// Reads what is there.
    pub(crate) fn receive(&mut self) {
        let mut buffer = [0; 8 << 10];
        loop {
            match fdpass::receive(self.stream.as_fd(), &mut buffer, &mut self.fds) {
                Ok(0) => return self.closed = true,
                Ok(count) => self.received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.closed = true,
            }
            if self.received.len() > protocol::MAX_FRAME + (64 << 10) || self.fds.len() > 64 {
                return self.closed = true;
            }
        }
    }

    /// The next request in full, or the text of why it can't be understood.
    pub(crate) fn next(&mut self) -> Option<Result<Request, String>> {
        match protocol::split(&mut self.received) {
            Ok(frame) => frame.map(|frame| skiff_json::from_slice(&frame).map_err(|error| error.to_string())),
            Err(_) => {
                self.closed = true;
                None
            }
        }
    }

    pub(crate) fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    pub(crate) fn send(&mut self, answer: &Answer) {
        self.send_with(answer, &[]);
    }

    /// A descriptor goes only when nothing is waiting before it; otherwise the connection ends.
    pub(crate) fn send_with(&mut self, answer: &(impl Serialize + ?Sized), fds: &[BorrowedFd<'_>]) {
        let Ok(frame) = protocol::encode(&answer) else { return self.closed = true };
        if fds.is_empty() {
            self.waiting.extend_from_slice(&frame);
            return self.flush();
        }
        match fdpass::send(self.stream.as_fd(), &frame, fds) {
            Ok(count) if self.waiting.is_empty() => {
                self.waiting.extend_from_slice(frame.get(count..).unwrap_or_default());
                self.flush();
            }
            _ => self.closed = true,
        }
    }

    pub(crate) fn flush(&mut self) {
        while !self.waiting.is_empty() && !self.closed {
            match fdpass::send(self.stream.as_fd(), &self.waiting, &[]) {
                Ok(count) => {
                    self.waiting.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
        }
        // A daemon that never reads must not fill our memory.
        if self.waiting.len() > 1 << 20 {
            self.closed = true;
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
