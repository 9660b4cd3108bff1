//! Live streams into a container.

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::Result;

pub trait AsyncDuplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncDuplex for T {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    pub argv: Vec<String>,
    /// With a terminal there is no stderr: both arrive as stdout.
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A process that runs in a container, or an attachment to its first one.
///
/// Dropping `stdin` sends the end of file. Dropping everything of an exec does not end the process, as upstream;
/// dropping an attachment only detaches.
pub struct ExecStream {
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Of use with a terminal only.
    pub resize: mpsc::Sender<TerminalSize>,
    /// The exit code, 128 + n after a signal. May be awaited before the output is drained: nothing is lost.
    pub exit: BoxFuture<'static, Result<i32>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    pub exit_code: i32,
    /// Cut after 16 MiB.
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}
