//! Port-forward: each connection of the client is a data and an error stream with the same request id.
use crate::negotiate::{Negotiated, Transport};
use crate::wire::{Out, Sink};
use crate::{spdy, websocket};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use skiff_cri::AsyncDuplex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Opens connections into the pod.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// The error goes to the client as it is.
    async fn connect(&self, port: u16) -> Result<Box<dyn AsyncDuplex>, String>;
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum ForwardError {
    #[error("a stream has no {0} header")]
    Header(&'static str),
    #[error("no ports were asked for")]
    NoPorts,
}

/// A half-open pair waits this long for its other half.
const PAIRING: Duration = Duration::from_secs(30);
const MAX_WAITING: usize = 256;

/// Serves until the client leaves. `ports` are those of a WebSocket's query.
pub async fn serve<IO>(io: IO, n: Negotiated, ports: &[u16], connect: Arc<dyn Connect>) -> Result<(), ForwardError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match (n.transport, n.protocol) {
        (Transport::Spdy, _) => streams(spdy::serve(io), connect).await,
        (Transport::WebSocket, "SPDY/3.1+portforward.k8s.io") => streams(spdy::serve(websocket::tunnel(websocket::accept(io).await)), connect).await,
        (Transport::WebSocket, protocol) => channels(io, protocol.contains("base64"), ports, connect).await,
    }
}

struct Half {
    stream: spdy::Stream,
    since: tokio::time::Instant,
}

async fn streams(mut c: spdy::Spdy, connect: Arc<dyn Connect>) -> Result<(), ForwardError> {
    let mut waiting: HashMap<String, Half> = HashMap::new();
    while let Some(stream) = c.streams.recv().await {
        waiting.retain(|_, h| h.since.elapsed() < PAIRING);
        let kind = stream.header("streamtype").ok_or(ForwardError::Header("streamType"))?.to_owned();
        let port: u16 = stream.header("port").and_then(|p| p.parse().ok()).ok_or(ForwardError::Header("port"))?;
        let id = stream.header("requestid").map_or_else(|| port.to_string(), str::to_owned);
        match waiting.remove(&id) {
            Some(other) => {
                let (data, error) = if kind == "data" { (stream, other.stream) } else { (other.stream, stream) };
                tokio::spawn(forward(port, data.data, data.sink, error.sink, connect.clone(), c.gone.clone()));
            }
            None if waiting.len() < MAX_WAITING => {
                waiting.insert(id, Half { stream, since: tokio::time::Instant::now() });
            }
            None => stream.sink.close().await,
        }
    }
    Ok(())
}

async fn forward(port: u16, mut from: mpsc::Receiver<Bytes>, to: Sink, error: Sink, connect: Arc<dyn Connect>, gone: CancellationToken) {
    match connect.connect(port).await {
        Ok(target) => {
            let (mut read, mut write) = tokio::io::split(target);
            let up = async {
                while let Some(bytes) = from.recv().await {
                    if write.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                let _ = write.shutdown().await;
            };
            let down = async {
                let mut buffer = vec![0u8; 32 << 10];
                while let Ok(n) = read.read(&mut buffer).await {
                    if n == 0 || !to.write(Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default())).await {
                        break;
                    }
                }
                to.close().await;
            };
            gone.run_until_cancelled(async { tokio::join!(up, down) }).await;
        }
        Err(e) => {
            error.write(e).await;
            to.close().await;
        }
    }
    error.close().await;
}

/// Two channels a port, data and error; each begins with the port's number in two bytes, the low one first.
async fn channels<IO>(io: IO, base64: bool, ports: &[u16], connect: Arc<dyn Connect>) -> Result<(), ForwardError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if ports.is_empty() {
        return Err(ForwardError::NoPorts);
    }
    let (write, mut read) = websocket::accept(io).await.split();
    let (orders, from_orders) = mpsc::channel(64);
    let gone = CancellationToken::new();
    let _guard = gone.clone().drop_guard();
    let stop = gone.clone();
    tokio::spawn(async move {
        let _ = websocket::write_all(write, from_orders, base64, stop).await;
    });
    let mut inputs = Vec::new();
    for (i, port) in ports.iter().enumerate().take(64) {
        let (data, error) = (Sink::new(orders.clone(), 2 * i as u32), Sink::new(orders.clone(), 2 * i as u32 + 1));
        data.write(port.to_le_bytes().to_vec()).await;
        error.write(port.to_le_bytes().to_vec()).await;
        let (to, from) = mpsc::channel(64);
        inputs.push(to);
        tokio::spawn(forward(*port, from, data, error, connect.clone(), gone.clone()));
    }
    while let Some(Ok(message)) = read.next().await {
        if message.is_close() {
            break;
        }
        if let Some((channel, bytes)) = websocket::decode(&message, base64)
            && channel % 2 == 0
            && let Some(to) = inputs.get(usize::from(channel / 2))
        {
            let _ = to.send(bytes).await;
        }
    }
    let _ = orders.send(Out::Finish).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spdy::client::Client;
    use http::HeaderMap;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    /// Port 7 echoes; all others refuse.
    struct Echo;
    #[async_trait]
    impl Connect for Echo {
        async fn connect(&self, port: u16) -> Result<Box<dyn AsyncDuplex>, String> {
            if port != 7 {
                return Err(format!("connection refused to {port}"));
            }
            let (near, far) = tokio::io::duplex(1024);
            let (mut r, mut w) = tokio::io::split(far);
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut r, &mut w).await;
                let _ = w.shutdown().await;
            });
            Ok(Box::new(near))
        }
    }
    fn negotiated(transport: Transport, protocol: &'static str) -> Negotiated {
        Negotiated { transport, protocol, headers: HeaderMap::new() }
    }

    async fn echo_over<IO: AsyncRead + AsyncWrite>(mut c: Client<IO>) {
        c.open(1, &[("streamtype", "error"), ("port", "7"), ("requestid", "0")]).await;
        c.open(3, &[("streamtype", "data"), ("port", "7"), ("requestid", "0")]).await;
        c.send(3, b"ping", true).await;
        assert_eq!(c.until_closed(3).await, b"ping");
        c.open(5, &[("streamtype", "error"), ("port", "9"), ("requestid", "1")]).await;
        c.open(7, &[("streamtype", "data"), ("port", "9"), ("requestid", "1")]).await;
        assert_eq!(c.until_closed(5).await, b"connection refused to 9");
    }

    #[tokio::test]
    async fn over_spdy() {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { serve(far, negotiated(Transport::Spdy, "portforward.k8s.io"), &[], Arc::new(Echo)).await });
        echo_over(Client::new(near)).await;
    }

    #[tokio::test]
    async fn over_spdy_inside_a_websocket() {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { serve(far, negotiated(Transport::WebSocket, "SPDY/3.1+portforward.k8s.io"), &[], Arc::new(Echo)).await });
        let socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        echo_over(Client::new(websocket::tunnel(socket))).await;
    }

    #[tokio::test]
    async fn over_websocket_channels() {
        use futures::SinkExt;
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { serve(far, negotiated(Transport::WebSocket, "v4.channel.k8s.io"), &[7], Arc::new(Echo)).await });
        let mut c = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        c.send(websocket::encode(0, b"ping", false)).await.unwrap();
        let mut data = Vec::new();
        while data.len() < 6 {
            if let Some((0, bytes)) = websocket::decode(&c.next().await.unwrap().unwrap(), false) {
                data.extend(bytes);
            }
        }
        assert_eq!(data, [&7u16.to_le_bytes()[..], b"ping"].concat());
        let _: Result<(), _> = c.send(Message::Close(None)).await;
    }
}
