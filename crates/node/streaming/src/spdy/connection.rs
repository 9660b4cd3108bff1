//! A connection: one task reads, one writes, streams are channels between.
use super::frame::{self, Frame, FrameError};
use super::headers::{Deflater, Headers, Inflater};
use crate::wire::{Out, Sink};
use bytes::Bytes;
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const QUEUE: usize = 64;
/// Streams that one client may have open at a time.
const MAX_STREAMS: usize = 1024;
/// Bytes of data in one frame.
const CHUNK: usize = 32 << 10;

/// A stream that the client has opened.
pub struct Stream {
    pub headers: Headers,
    /// Ends when the client has closed its half.
    pub data: mpsc::Receiver<Bytes>,
    pub sink: Sink,
}

impl Stream {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

pub type Incoming = mpsc::Receiver<Stream>;

/// A served connection.
pub struct Spdy {
    pub streams: Incoming,
    pub orders: mpsc::Sender<Out>,
    /// Cancelled when the peer has gone.
    pub gone: CancellationToken,
    /// Cancelled when the writer has ended.
    pub written: CancellationToken,
}

enum Reply {
    Accept(u32),
    Ping(u32),
}

/// Takes a connection over.
pub fn serve<IO: AsyncRead + AsyncWrite + Send + 'static>(io: IO) -> Spdy {
    let (read, write) = tokio::io::split(io);
    let (to_streams, streams) = mpsc::channel(16);
    let (orders, from_orders) = mpsc::channel(QUEUE);
    let (replies, from_replies) = mpsc::channel(QUEUE);
    let (gone, written) = (CancellationToken::new(), CancellationToken::new());
    let guard = gone.clone().drop_guard();
    let sink = orders.clone();
    let ended = written.clone();
    tokio::spawn(async move {
        let _guard = guard;
        let reading = read_all(BufReader::with_capacity(CHUNK, read), to_streams, sink, replies);
        if let Some(Err(e)) = ended.run_until_cancelled(reading).await {
            tracing::debug!(target: "node", error = %e, "SPDY connection broken");
        }
    });
    let (done, stop) = (written.clone().drop_guard(), gone.clone());
    tokio::spawn(async move {
        let _done = done;
        if let Err(e) = write_all(write, from_orders, from_replies, stop).await {
            tracing::debug!(target: "node", error = %e, "SPDY connection not written");
        }
    });
    Spdy { streams, orders, gone, written }
}

async fn read_all<R: AsyncRead + Unpin>(
    mut r: R,
    streams: mpsc::Sender<Stream>,
    orders: mpsc::Sender<Out>,
    replies: mpsc::Sender<Reply>,
) -> Result<(), FrameError> {
    let mut inflate = Inflater::new();
    let mut open: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    while let Some(frame) = frame::read(&mut r, &mut inflate).await? {
        match frame {
            Frame::SynStream { id, headers, fin } => {
                open.retain(|_, s| !s.is_closed());
                if open.len() >= MAX_STREAMS {
                    return Err(FrameError::TooLong("list of streams"));
                }
                let (to, data) = mpsc::channel(QUEUE);
                if !fin {
                    open.insert(id, to);
                }
                let _ = replies.send(Reply::Accept(id)).await;
                let sink = Sink::new(orders.clone(), id);
                if streams.send(Stream { headers, data, sink }).await.is_err() {
                    open.remove(&id);
                }
            }
            Frame::Data { id, bytes, fin } => {
                if let Some(to) = open.get(&id).filter(|_| !bytes.is_empty()) {
                    let _ = to.send(bytes).await;
                }
                if fin {
                    open.remove(&id);
                }
            }
            Frame::Rst { id } => {
                open.remove(&id);
            }
            Frame::Ping { id } => {
                let _ = replies.send(Reply::Ping(id)).await;
            }
            Frame::GoAway => return Ok(()),
            Frame::SynReply { .. } | Frame::Other => {}
        }
    }
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut w: W,
    mut orders: mpsc::Receiver<Out>,
    mut replies: mpsc::Receiver<Reply>,
    gone: CancellationToken,
) -> Result<(), FrameError> {
    let mut deflate = Deflater::new()?;
    loop {
        tokio::select! {
            biased;
            Some(reply) = replies.recv() => {
                let bytes = match reply {
                    Reply::Accept(id) => frame::syn_reply(&mut deflate, id)?,
                    Reply::Ping(id) => frame::ping(id),
                };
                w.write_all(&bytes).await?;
            }
            order = orders.recv() => match order {
                Some(Out::Data(id, bytes)) => {
                    for chunk in bytes.chunks(CHUNK) {
                        w.write_all(&frame::data_head(id, chunk.len(), false)).await?;
                        w.write_all(chunk).await?;
                    }
                }
                Some(Out::Close(id)) => w.write_all(&frame::data_head(id, 0, true)).await?,
                Some(Out::Finish) | None => {
                    w.write_all(&frame::go_away(0)).await?;
                    w.flush().await?;
                    let _ = w.shutdown().await;
                    return Ok(());
                }
            },
            () = gone.cancelled() => return Ok(()),
        }
        w.flush().await?;
    }
}

/// What a client sends, for tests.
#[cfg(test)]
pub(crate) mod client {
    use super::super::frame;
    use super::super::headers::{Deflater, Inflater};
    use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

    pub struct Client<IO = DuplexStream> {
        read: ReadHalf<IO>,
        write: WriteHalf<IO>,
        deflate: Deflater,
        inflate: Inflater,
    }
    impl<IO: AsyncRead + AsyncWrite> Client<IO> {
        pub fn new(io: IO) -> Self {
            let (read, write) = tokio::io::split(io);
            Self { read, write, deflate: Deflater::new().unwrap(), inflate: Inflater::new() }
        }
        pub async fn open(&mut self, id: u32, headers: &[(&str, &str)]) {
            let h: Vec<(String, String)> = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let bytes = frame::syn_stream(&mut self.deflate, id, &h, false).unwrap();
            self.write.write_all(&bytes).await.unwrap();
        }
        pub async fn send(&mut self, id: u32, bytes: &[u8], fin: bool) {
            self.write.write_all(&frame::data_head(id, bytes.len(), fin)).await.unwrap();
            self.write.write_all(bytes).await.unwrap();
        }
        /// Data of all streams until the server ends, by id.
        pub async fn drain(&mut self) -> std::collections::BTreeMap<u32, Vec<u8>> {
            let mut all = std::collections::BTreeMap::<u32, Vec<u8>>::new();
            while let Ok(Some(f)) = frame::read(&mut self.read, &mut self.inflate).await {
                match f {
                    frame::Frame::Data { id, bytes, .. } => all.entry(id).or_default().extend(bytes),
                    frame::Frame::GoAway => break,
                    _ => {}
                }
            }
            all
        }
        /// Data of one stream until it is closed.
        pub async fn until_closed(&mut self, want: u32) -> Vec<u8> {
            let mut out = Vec::new();
            while let Ok(Some(f)) = frame::read(&mut self.read, &mut self.inflate).await {
                if let frame::Frame::Data { id, bytes, fin } = f
                    && id == want
                {
                    out.extend(bytes);
                    if fin {
                        break;
                    }
                }
            }
            out
        }
    }
}
