use super::*;
use crate::spdy::client::Client;
use crate::websocket::{decode, encode};
use futures::{SinkExt, StreamExt};
use http::HeaderMap;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A process that copies stdin to stdout, says `oops` on stderr and exits with `code` at the end of its input.
fn process(code: i32) -> ExecStream {
    let (stdin, mut from) = tokio::io::duplex(1024);
    let (mut to, stdout) = tokio::io::duplex(1024);
    let (mut err, stderr) = tokio::io::duplex(1024);
    let (resize, _) = mpsc::channel(1);
    let exit = async move {
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        err.write_all(b"oops").await.unwrap();
        Ok(code)
    };
    ExecStream { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(stdout)), stderr: Some(Box::new(stderr)), resize, exit: Box::pin(exit) }
}

fn negotiated(transport: Transport, protocol: &'static str) -> Negotiated {
    Negotiated { transport, protocol, headers: HeaderMap::new() }
}
const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };

#[tokio::test]
async fn spdy_v4_gives_output_and_the_exit_code() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let served = tokio::spawn(serve(far, negotiated(Transport::Spdy, "v4.channel.k8s.io"), ALL, async { Ok(process(3)) }));
    let mut c = Client::new(near);
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        c.open(id, &[("streamType", kind)]).await;
    }
    c.send(3, b"hello", false).await;
    c.send(3, b"", true).await;
    let all = c.drain().await;
    assert_eq!((all[&5].as_slice(), all[&7].as_slice()), (&b"hello"[..], &b"oops"[..]));
    let status: skiff_json::Value = skiff_json::from_slice(&all[&1]).unwrap();
    assert_eq!((status["reason"].as_str(), status["details"]["causes"][0]["message"].as_str()), (Some("NonZeroExitCode"), Some("3")));
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn websocket_v5_closes_stdin_and_reports_success() {
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(serve(far, negotiated(Transport::WebSocket, "v5.channel.k8s.io"), ALL, async { Ok(process(0)) }));
    let mut c = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    c.send(encode(0, b"hi", false)).await.unwrap();
    c.send(encode(255, &[0], false)).await.unwrap();
    let mut got = std::collections::BTreeMap::<u8, Vec<u8>>::new();
    while let Some(Ok(m)) = c.next().await {
        if let Message::Close(frame) = &m {
            assert_eq!(frame.as_ref().map(|f| u16::from(f.code)), Some(1000));
        }
        if let Some((channel, bytes)) = decode(&m, false) {
            got.entry(channel).or_default().extend(bytes);
        }
    }
    assert_eq!((got[&1].as_slice(), got[&2].as_slice()), (&b"hi"[..], &b"oops"[..]));
    assert_eq!(got[&3], br#"{"metadata":{},"status":"Success"}"#);
}

#[tokio::test]
async fn base64_channels() {
    let m = encode(2, b"x", true);
    assert_eq!(m.to_text().unwrap(), "2eA==");
    assert_eq!(decode(&m, true).unwrap(), (2, Bytes::from_static(b"x")));
}

#[tokio::test]
async fn a_command_that_cannot_start_says_so() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let wanted = Wanted { stdout: true, ..Wanted::default() };
    tokio::spawn(serve(far, negotiated(Transport::Spdy, "v4.channel.k8s.io"), wanted, async { Err(RuntimeError::StartFailed("no such file".into())) }));
    let mut c = Client::new(near);
    c.open(1, &[("streamtype", "error")]).await;
    c.open(3, &[("streamtype", "stdout")]).await;
    let all = c.drain().await;
    assert!(String::from_utf8_lossy(&all[&1]).contains("no such file"));
}
