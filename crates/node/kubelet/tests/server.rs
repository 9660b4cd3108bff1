//! The node's server over a real loopback connection: logs, exec over WebSocket, refusals of the gate.
use k8s_openapi::api::core::v1::Pod;
use skiff_controller::SystemClock;
use skiff_cri::fake::{FakeImages, FakeNetwork, FakeRuntime};
use skiff_kubelet::{Access, Config, Gate, Kubelet, NoVolumes, Parts, Peer};
use skiff_meta::{Reason, Status};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Lets in whoever brings the token.
struct Token;
#[async_trait::async_trait]
impl Gate for Token {
    async fn allow(&self, peer: &Peer, access: &Access) -> Result<(), Status> {
        match peer.bearer.as_deref() {
            Some("good") => Ok(()),
            _ => Err(Status::new(Reason::Unauthorized, format!("not for you: {}", access.subresource))),
        }
    }
}

async fn get(at: SocketAddr, path: &str, token: &str) -> String {
    let mut s = TcpStream::connect(at).await.unwrap();
    s.write_all(format!("GET {path} HTTP/1.1\r\nHost: n\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut out = Vec::new();
    s.read_to_end(&mut out).await.unwrap();
    String::from_utf8_lossy(&out).into_owned()
}

#[tokio::test]
async fn logs_exec_and_the_gate() {
    let api = skiff_client::fake::Fake::new();
    let client = api.client();
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new("n1", vec!["192.0.2.1".parse().unwrap()], dir.path().join("root"));
    config.log_dir = dir.path().join("logs");
    config.container_log_links = None;
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let runtime = Arc::new(FakeRuntime::new(Arc::new(FakeNetwork::default())));
    let parts = Parts {
        client: client.clone(),
        runtime,
        images: Arc::new(FakeImages::default()),
        volumes: Arc::new(NoVolumes),
        clock: Arc::new(SystemClock),
        gate: Arc::new(Token),
    };
    let kubelet = Kubelet::start(config, parts).await.unwrap();
    let at = kubelet.address().unwrap();
    let text =
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"ns"},"spec":{"nodeName":"n1","containers":[{"name":"a","image":"x:1"}]}}"#;
    client.create(&skiff_json::from_str::<Pod>(text).unwrap()).await.unwrap();
    while client.get::<Pod>("ns", "p").await.unwrap().status.and_then(|s| s.phase).as_deref() != Some("Running") {
        tokio::task::yield_now().await;
    }
    assert!(get(at, "/healthz", "bad").await.starts_with("HTTP/1.1 401"));
    assert!(get(at, "/healthz", "good").await.ends_with("ok"));
    assert!(get(at, "/pods", "good").await.contains("\"PodList\""));
    assert!(get(at, "/containerLogs/ns/none/a", "good").await.starts_with("HTTP/1.1 404"));
    assert!(get(at, "/stats/summary", "good").await.contains("\"podRef\""));
    let mut s = TcpStream::connect(at).await.unwrap();
    let request = "GET /exec/ns/p/a?command=echo&command=hi&output=1 HTTP/1.1\r\nHost: n\r\nAuthorization: Bearer good\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n";
    s.write_all(request.as_bytes()).await.unwrap();
    let mut out = Vec::new();
    s.read_to_end(&mut out).await.unwrap();
    let text = String::from_utf8_lossy(&out);
    assert!(text.starts_with("HTTP/1.1 101") && text.contains("\u{1}hi\n") && text.contains(r#""status":"Success""#), "{text}");
    kubelet.stop();
}
