//! The daemon's end of the shim protocol.

use std::io::{self, Error};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use skiff_cri::{Result, RuntimeError};
use skiff_shim::protocol::{self, Answer, ErrorKind, OLDEST, Request, SOCKET, VERSION};
use skiff_sys::fdpass;
use tokio::io::Interest;
use tokio::net::UnixStream;

pub(crate) struct Shim {
    stream: UnixStream,
    received: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Shim {
    /// Connects to the shim of a pod's folder and agrees on a version.
    pub(crate) async fn connect(folder: &Path) -> Result<Self> {
        let failed = |source: Error| RuntimeError::failed(format!("connect to the shim in {}", folder.display()), source);
        let stream = open(folder).and_then(UnixStream::from_std).map_err(failed)?;
        let mut shim = Self { stream, received: Vec::new(), fds: Vec::new() };
        match shim.request(&Request::Hello { min: OLDEST, max: VERSION }, &[]).await? {
            Answer::Hello { .. } => Ok(shim),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks, and waits for the answer. An error of the shim becomes one of ours.
    pub(crate) async fn request(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Answer> {
        self.send(request, fds).await.map_err(lost)?;
        Self::accept(self.next().await?)
    }

    /// The answer, or the error that the shim answered with.
    pub(crate) fn accept(answer: Answer) -> Result<Answer> {
        match answer {
            Answer::Error { kind, message } => Err(match kind {
                ErrorKind::NotFound => RuntimeError::Precondition(message),
                ErrorKind::Program | ErrorKind::Failed => RuntimeError::StartFailed(message),
                ErrorKind::Invalid => RuntimeError::Invalid(message),
                ErrorKind::Unsupported => RuntimeError::Unsupported(message),
            }),
            answer => Ok(answer),
        }
    }

    pub(crate) async fn done(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        match self.request(request, fds).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks without waiting for the answer.
    pub(crate) async fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = protocol::encode(request)?;
        let mut rest = frame.as_slice();
        let mut fds = fds;
        while !rest.is_empty() {
            let sent = self.stream.async_io(Interest::WRITABLE, || fdpass::send(self.stream.as_fd(), rest, fds)).await?;
            rest = rest.get(sent..).unwrap_or_default();
            fds = &[];
        }
        Ok(())
    }

    /// The next answer or push. May be dropped while waiting.
    pub(crate) async fn next(&mut self) -> Result<Answer> {
        loop {
            if let Some(frame) = protocol::split(&mut self.received).map_err(lost)? {
                return skiff_json::from_slice(&frame).map_err(|error| lost(error.into()));
            }
            let (stream, fds) = (&self.stream, &mut self.fds);
            let mut buffer = [0; 8 << 10];
            let count = stream.async_io(Interest::READABLE, || fdpass::receive(stream.as_fd(), &mut buffer, fds)).await.map_err(lost)?;
            if count == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
            self.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }

    pub(crate) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop()
    }
}

/// Socket addresses hold 108 bytes and folders may be deep: go through an open folder.
fn open(folder: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    let folder = skiff_sys::path::open_directory(folder)?;
    let stream = std::os::unix::net::UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

pub(crate) fn lost(source: Error) -> RuntimeError {
    RuntimeError::failed("talk to the shim", source)
}

pub(crate) fn unexpected(answer: &Answer) -> RuntimeError {
    RuntimeError::failed("talk to the shim", format!("unexpected answer {answer:?}"))
}
