//! WebSocket channels: the first byte of each message says which (`v4.channel.k8s.io`), in base64 as a digit.
use crate::remotecommand::Wanted;
use crate::wire::{Out, Sink, Wires, terminal_size};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

const MAX_MESSAGE: usize = 4 << 20;
const QUEUE: usize = 64;
/// So that proxies in between don't take a quiet shell for a dead one.
const PING: Duration = Duration::from_secs(20);
/// v5: the next byte's channel is closed.
const CLOSE: u8 = 255;

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(io: IO) -> WebSocketStream<IO> {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await
}

/// Sends what comes as messages until it ends or the client goes; what the client says is not read.
pub async fn send<IO: AsyncRead + AsyncWrite + Unpin>(io: IO, mut from: mpsc::Receiver<Bytes>, base64: bool) {
    let mut socket = accept(io).await;
    while let Some(bytes) = from.recv().await {
        let message = if base64 { Message::text(STANDARD.encode(&bytes)) } else { Message::binary(bytes) };
        if socket.send(message).await.is_err() {
            return;
        }
    }
    let _ = socket.send(normal_close()).await;
}

/// Clients take any other code (and none) for an error.
fn normal_close() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Default::default() }))
}

/// Channel and content of a message; None when it is none of ours.
pub(crate) fn decode(message: &Message, base64: bool) -> Option<(u8, Bytes)> {
    let bytes = match message {
        Message::Binary(b) => b.clone(),
        Message::Text(t) => Bytes::copy_from_slice(t.as_bytes()),
        _ => return None,
    };
    let channel = *bytes.first()?;
    if !base64 {
        return Some((channel, bytes.slice(1..)));
    }
    let channel = channel.checked_sub(b'0')?;
    Some((channel, STANDARD.decode(bytes.slice(1..)).ok()?.into()))
}

pub(crate) fn encode(channel: u8, bytes: &[u8], base64: bool) -> Message {
    if base64 {
        return Message::text(format!("{}{}", char::from(b'0'.wrapping_add(channel)), STANDARD.encode(bytes)));
    }
    let mut out = BytesMut::with_capacity(bytes.len() + 1);
    out.put_u8(channel);
    out.put_slice(bytes);
    Message::binary(out.freeze())
}

/// The channels of a remote command: 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize.
pub fn command<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(socket: WebSocketStream<IO>, protocol: &'static str, wanted: Wanted) -> Wires {
    let base64 = protocol.contains("base64");
    let (to_stdin, stdin) = mpsc::channel(QUEUE);
    let (to_resize, resize) = mpsc::channel(8);
    let (orders, from_orders) = mpsc::channel(QUEUE);
    let (gone, written) = (CancellationToken::new(), CancellationToken::new());
    let (guard, done) = (gone.clone().drop_guard(), written.clone().drop_guard());
    let (write, mut read) = socket.split();
    let ended = written.clone();
    tokio::spawn(async move {
        let _guard = guard;
        let mut to_stdin = wanted.stdin.then_some(to_stdin);
        let reading = async {
            while let Some(Ok(message)) = read.next().await {
                if message.is_close() {
                    break;
                }
                match decode(&message, base64) {
                    Some((0, bytes)) => {
                        if let Some(to) = &to_stdin {
                            let _ = to.send(bytes).await;
                        }
                    }
                    Some((4, bytes)) => {
                        if let Some(size) = terminal_size(&bytes) {
                            let _ = to_resize.send(size).await;
                        }
                    }
                    Some((CLOSE, bytes)) if protocol == "v5.channel.k8s.io" && bytes.first() == Some(&0) => to_stdin = None,
                    _ => {}
                }
            }
        };
        ended.run_until_cancelled(reading).await;
    });
    let stop = gone.clone();
    tokio::spawn(async move {
        let _done = done;
        let _ = write_all(write, from_orders, base64, stop).await;
    });
    let sink = |on: bool, n| on.then(|| Sink::new(orders.clone(), n));
    Wires {
        stdin: wanted.stdin.then_some(stdin),
        stdout: sink(wanted.stdout, 1),
        stderr: sink(wanted.stderr, 2),
        error: Sink::new(orders.clone(), 3),
        resize: wanted.tty.then_some(resize),
        finish: orders,
        gone,
        written,
    }
}

pub(crate) async fn write_all<W: futures::Sink<Message, Error = Error> + Unpin>(
    mut w: W,
    mut orders: mpsc::Receiver<Out>,
    base64: bool,
    gone: CancellationToken,
) -> Result<(), Error> {
    let mut pings = tokio::time::interval(PING);
    pings.tick().await;
    loop {
        let message = tokio::select! {
            order = orders.recv() => match order {
                Some(Out::Data(channel, bytes)) => encode(channel as u8, &bytes, base64),
                // Only a client can close one channel.
                Some(Out::Close(_)) => continue,
                Some(Out::Finish) | None => break,
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
            () = gone.cancelled() => return Ok(()),
        };
        w.send(message).await?;
    }
    w.send(normal_close()).await?;
    w.close().await
}

/// SPDY inside a WebSocket: each binary message is a piece of the connection.
pub fn tunnel<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(socket: WebSocketStream<IO>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (mut from_spdy, mut to_spdy) = tokio::io::split(far);
    let (mut write, mut read) = socket.split();
    tokio::spawn(async move {
        while let Some(Ok(message)) = read.next().await {
            match message {
                Message::Binary(b) if to_spdy.write_all(&b).await.is_ok() => {}
                Message::Binary(_) | Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = to_spdy.shutdown().await;
    });
    tokio::spawn(async move {
        let mut buffer = vec![0u8; 32 << 10];
        let mut pings = tokio::time::interval(PING);
        pings.tick().await;
        loop {
            let message = tokio::select! {
                n = from_spdy.read(&mut buffer) => match n {
                    Ok(n) if n > 0 => Message::binary(Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default())),
                    _ => break,
                },
                _ = pings.tick() => Message::Ping(Bytes::new()),
            };
            if write.send(message).await.is_err() {
                return;
            }
        }
        let _ = write.send(normal_close()).await;
        let _ = write.close().await;
    });
    near
}
