//! What a transport gives to the layer above: bytes in, bytes out, by channel.
use bytes::Bytes;
use skiff_cri::TerminalSize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// An order to a transport's writer.
#[derive(Debug)]
pub enum Out {
    Data(u32, Bytes),
    /// The channel's writing side ends.
    Close(u32),
    /// Everything ends, after what was ordered before.
    Finish,
}

/// One channel's writing side.
#[derive(Clone)]
pub struct Sink {
    to: mpsc::Sender<Out>,
    channel: u32,
}

impl Sink {
    pub fn new(to: mpsc::Sender<Out>, channel: u32) -> Self {
        Self { to, channel }
    }
    /// False when the peer is gone.
    pub async fn write(&self, bytes: impl Into<Bytes>) -> bool {
        self.to.send(Out::Data(self.channel, bytes.into())).await.is_ok()
    }
    pub async fn close(&self) {
        let _ = self.to.send(Out::Close(self.channel)).await;
    }
}

/// The channels of a remote command.
pub struct Wires {
    /// Ends when the client has closed it.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    pub stdout: Option<Sink>,
    pub stderr: Option<Sink>,
    pub error: Sink,
    pub resize: Option<mpsc::Receiver<TerminalSize>>,
    pub finish: mpsc::Sender<Out>,
    /// Cancelled when the peer has gone.
    pub gone: CancellationToken,
    /// Cancelled when everything ordered has been written.
    pub written: CancellationToken,
}

/// A message of the resize channel: `{"Width":80,"Height":24}`.
pub fn terminal_size(message: &[u8]) -> Option<TerminalSize> {
    let v: skiff_json::Value = skiff_json::from_slice(message).ok()?;
    let n = |k: &str| v.get(k).and_then(skiff_json::Value::as_u64).and_then(|n| u16::try_from(n).ok());
    Some(TerminalSize { columns: n("Width")?, rows: n("Height")? })
}
