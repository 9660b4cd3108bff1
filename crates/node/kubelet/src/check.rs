//! One try of a probe or an HTTP hook.
use crate::agent::Agent;
use crate::grpc;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_cri::{ContainerId, RuntimeError};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const MAX_BODY: usize = 10 << 10;

/// The text is what the Unhealthy event says.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure(String),
    /// The try itself went wrong: it counts for nothing.
    Error(String),
}

pub async fn probe(agent: &Agent, c: &Container, id: &ContainerId, ip: Option<IpAddr>, p: &Probe) -> Outcome {
    let timeout = Duration::from_secs(p.timeout_seconds.and_then(|t| u64::try_from(t).ok()).filter(|t| *t > 0).unwrap_or(1));
    if let Some(e) = &p.exec {
        return exec(agent, id, e.command.as_deref().unwrap_or_default(), timeout).await;
    }
    let target = |host: Option<&String>| host.filter(|h| !h.is_empty()).cloned().or_else(|| ip.map(|ip| ip.to_string()));
    if let Some(get) = &p.http_get {
        let Some(host) = target(get.host.as_ref()) else { return Outcome::Error("the pod has no address".into()) };
        return match http_get(get, c, &host, "kube-probe/1.37", timeout).await {
            Ok((code, _)) if skiff_pod::probe::http_success(code) => Outcome::Success,
            Ok((code, _)) => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
            Err(e) => Outcome::Failure(e),
        };
    }
    if let Some(tcp) = &p.tcp_socket {
        let (Some(host), Some(port)) = (target(tcp.host.as_ref()), port_of(&tcp.port, c)) else { return Outcome::Error("no address to connect to".into()) };
        return match connect(&host, port, timeout).await {
            Ok(_) => Outcome::Success,
            Err(e) => Outcome::Failure(e),
        };
    }
    if let Some(g) = &p.grpc {
        let (Some(host), Ok(port)) = (target(None), u16::try_from(g.port)) else { return Outcome::Error("no address to connect to".into()) };
        return grpc::health(&host, port, g.service.as_deref().unwrap_or_default(), timeout).await;
    }
    Outcome::Error("the probe has no handler".into())
}

async fn exec(agent: &Agent, id: &ContainerId, command: &[String], timeout: Duration) -> Outcome {
    match agent.runtime.exec_sync(id, command, timeout).await {
        Ok(out) if out.exit_code == 0 => Outcome::Success,
        Ok(out) => {
            let text: Vec<u8> = out.stdout.iter().chain(&out.stderr).take(MAX_BODY).copied().collect();
            Outcome::Failure(String::from_utf8_lossy(&text).into_owned())
        }
        Err(RuntimeError::DeadlineExceeded(_)) => Outcome::Failure(format!("command timed out: {command:?} timed out after {}s", timeout.as_secs())),
        Err(e @ RuntimeError::StartFailed(_)) => Outcome::Failure(e.full_message()),
        Err(e) => Outcome::Error(e.full_message()),
    }
}

/// A number, or the name of one of the container's ports.
pub fn port_of(port: &IntOrString, c: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(n) => u16::try_from(*n).ok().filter(|n| *n > 0),
        IntOrString::String(name) => {
            let named = c.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port);
            named.and_then(|n| u16::try_from(n).ok()).or_else(|| name.parse().ok()).filter(|n| *n > 0)
        }
    }
}

async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(s)) => Ok(s),
        Ok(Err(e)) => Err(format!("dial tcp {}: {}", join(host, port), connect_text(&e))),
        Err(_) => Err(format!("dial tcp {}: i/o timeout", join(host, port))),
    }
}

fn connect_text(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        _ => format!("connect: {e}"),
    }
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Code and the beginning of the body.
pub async fn http_get(get: &HTTPGetAction, c: &Container, host: &str, agent: &str, timeout: Duration) -> Result<(u16, String), String> {
    let Some(port) = port_of(&get.port, c) else { return Err(format!("couldn't find port: {:?}", get.port)) };
    let https = get.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https"));
    let path = get.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let url = format!("{}://{}{path}", if https { "https" } else { "http" }, join(host, port));
    let run = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|e| format!("Get {url:?}: dial tcp {}: {}", join(host, port), connect_text(&e)))?;
        let request = request(get, &path, &join(host, port), agent).map_err(|e| format!("Get {url:?}: {e}"))?;
        let answer = if https {
            let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|e| format!("Get {url:?}: {e}"))?;
            let tls = TlsConnector::from(any_certificate()).connect(name, stream).await.map_err(|e| format!("Get {url:?}: {e}"))?;
            exchange(tls, request).await
        } else {
            exchange(stream, request).await
        };
        answer.map_err(|e| format!("Get {url:?}: {e}"))
    };
    match tokio::time::timeout(timeout, run).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)")),
    }
}

fn request(get: &HTTPGetAction, path: &str, host: &str, agent: &str) -> Result<hyper::Request<Empty<Bytes>>, http::Error> {
    let mut r = hyper::Request::get(path);
    let own = |name: &str| get.http_headers.iter().flatten().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.clone());
    r = r.header("Host", own("Host").unwrap_or_else(|| host.to_owned())).header("Connection", "close");
    r = r.header("User-Agent", own("User-Agent").unwrap_or_else(|| agent.to_owned())).header("Accept", own("Accept").unwrap_or_else(|| "*/*".into()));
    for h in get.http_headers.iter().flatten() {
        if !["host", "user-agent", "accept"].contains(&h.name.to_ascii_lowercase().as_str()) {
            r = r.header(&h.name, &h.value);
        }
    }
    r.body(Empty::new())
}

async fn exchange<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: hyper::Request<Empty<Bytes>>,
) -> Result<(u16, String), String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let result = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let code = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        Ok((code, String::from_utf8_lossy(&body).into_owned()))
    }
    .await;
    driver.abort();
    result
}

/// Probes don't check certificates, as upstream's don't.
fn any_certificate() -> Arc<rustls::ClientConfig> {
    static CONFIG: LazyLock<Arc<rustls::ClientConfig>> = LazyLock::new(|| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.unwrap_or_else(|e| unreachable!("ring has the default TLS versions: {e}"));
        Arc::new(builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))).with_no_client_auth())
    });
    CONFIG.clone()
}

#[derive(Debug)]
struct Unchecked(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &rustls::pki_types::CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &rustls::pki_types::CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
