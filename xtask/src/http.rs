//! A small HTTP/1.1 client over TLS for load and faults: one connection a value, no pool, no threads of its own, so that
//! what a test or a bench sends is exactly what it says. kubectl stays the client for everything else.

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longest answer that is read, in bytes.
const LONGEST: u64 = 1 << 30;

/// A server and who we are to it.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

/// A whole answer.
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// What comes before the body.
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    length: Length,
}

/// One kept-alive connection.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    host: SocketAddr,
}

/// How long an answer's body is.
enum Length {
    Bytes(u64),
    Chunks,
}

impl Client {
    /// With the administrator's certificate out of a kubeconfig.
    pub fn of(kubeconfig: &Path) -> anyhow::Result<Self> {
        let config = read(kubeconfig)?;
        let certificates =
            CertificateDer::pem_slice_iter(&data(&config, "client-certificate-data")?).collect::<Result<Vec<_>, _>>().context("read the client certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&data(&config, "client-key-data")?).context("read the client key")?;
        Self::with(&config, |tls| tls.with_client_auth_cert(certificates, key).context("use the client certificate"))
    }
    /// Without a certificate: whoever a token says, or nobody.
    pub fn anonymous(kubeconfig: &Path) -> anyhow::Result<Self> {
        Self::with(&read(kubeconfig)?, |tls| Ok(tls.with_no_client_auth()))
    }
    fn with(
        config: &str,
        identity: impl FnOnce(rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>) -> anyhow::Result<ClientConfig>,
    ) -> anyhow::Result<Self> {
        let url = value(config, "server")?;
        let address =
            url.strip_prefix("https://").and_then(|u| u.trim_end_matches('/').parse().ok()).with_context(|| format!("{url} is not https://ADDRESS:PORT"))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&data(config, "certificate-authority-data")?) {
            roots.add(certificate.context("read the server's authority")?).context("trust the server's authority")?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(roots);
        Ok(Self { address, tls: Arc::new(identity(tls)?) })
    }
    pub fn connect(&self) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect_timeout(&self.address, Duration::from_secs(10)).with_context(|| format!("connect to {}", self.address))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(60)))?;
        let tls = ClientConnection::new(self.tls.clone(), ServerName::from(self.address.ip())).context("begin TLS")?;
        Ok(Connection { stream: BufReader::with_capacity(64 << 10, StreamOwned::new(tls, tcp)), host: self.address })
    }
}

fn read(kubeconfig: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))
}

/// A value of the kubeconfig that Skiff writes: one cluster, one user, a key and a value a line.
fn value<'a>(config: &'a str, key: &str) -> anyhow::Result<&'a str> {
    config.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix(": ")).with_context(|| format!("the kubeconfig has no {key}"))
}

fn data(config: &str, key: &str) -> anyhow::Result<Vec<u8>> {
    STANDARD.decode(value(config, key)?).with_context(|| format!("decode {key} of the kubeconfig"))
}

impl Connection {
    /// Sends a request and reads the whole answer. `headers` are lines without their ends.
    pub fn request(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> anyhow::Result<Answer> {
        self.send(method, path, headers, body)?;
        let Head { status, headers, length } = head(&mut self.stream)?;
        let body = match length {
            Length::Bytes(n) => {
                ensure!(n <= LONGEST, "an answer of {n} bytes is too long");
                let mut body = Vec::new();
                (&mut self.stream).take(n).read_to_end(&mut body)?;
                ensure!(body.len() as u64 == n, "the answer ended after {} of {n} bytes", body.len());
                body
            }
            Length::Chunks => {
                let mut body = Vec::new();
                while chunk(&mut self.stream, &mut body)? {
                    ensure!(body.len() as u64 <= LONGEST, "the answer is too long");
                }
                body
            }
        };
        Ok(Answer { status, headers, body })
    }
    pub fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.request("GET", path, &[], &[])
    }
    /// Creates an object out of JSON; an error shows the server's own message.
    pub fn create(&mut self, path: &str, object: &[u8]) -> anyhow::Result<Answer> {
        let answer = self.request("POST", path, &["content-type: application/json"], object)?;
        ensure!(answer.status == 201, "POST {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(answer)
    }
    /// Turns the connection into a watch.
    pub fn watch(mut self, path: &str) -> anyhow::Result<Watch> {
        self.send("GET", path, &[], &[])?;
        let Head { status, length, .. } = head(&mut self.stream)?;
        ensure!(status == 200 && matches!(length, Length::Chunks), "GET {path}: {status}, or not a stream");
        Ok(Watch { connection: self, waiting: Vec::new() })
    }
    fn send(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> anyhow::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        headers.iter().for_each(|h| head += &format!("{h}\r\n"));
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        let mut whole = (head + "\r\n").into_bytes();
        whole.extend_from_slice(body);
        let out = self.stream.get_mut();
        out.write_all(&whole).and_then(|()| out.flush()).with_context(|| format!("send {method} {path}"))
    }
}

/// A stream of events, a line each.
pub struct Watch {
    connection: Connection,
    waiting: Vec<u8>,
}

impl Watch {
    /// The next event; none at a clean end.
    pub fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.waiting.iter().position(|b| *b == b'\n') {
                let rest = self.waiting.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.waiting, rest)));
            }
            if !chunk(&mut self.connection.stream, &mut self.waiting)? {
                return Ok(None);
            }
        }
    }
}

/// Status line and headers of an answer.
fn head(from: &mut impl BufRead) -> anyhow::Result<Head> {
    let first = line(from)?;
    let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).with_context(|| format!("{first:?} is no status line"))?;
    let (mut length, mut headers) = (Length::Bytes(0), Vec::new());
    loop {
        let header = line(from)?;
        if header.is_empty() {
            return Ok(Head { status, headers, length });
        }
        let Some((name, value)) = header.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned())) else { continue };
        match name.as_str() {
            "content-length" => length = Length::Bytes(value.parse().with_context(|| format!("{value:?} is no length"))?),
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => length = Length::Chunks,
            _ => {}
        }
        headers.push((name, value));
    }
}

/// Adds one chunk to `body`; false at the last one.
fn chunk(from: &mut impl BufRead, body: &mut Vec<u8>) -> anyhow::Result<bool> {
    let size = line(from)?;
    let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).with_context(|| format!("{size:?} is no chunk's size"))?;
    ensure!(size <= LONGEST, "a chunk of {size} bytes is too long");
    let before = body.len();
    from.by_ref().take(size).read_to_end(body)?;
    ensure!((body.len() - before) as u64 == size, "a chunk was cut off");
    ensure!(line(from)?.is_empty(), "a chunk does not end where it says");
    Ok(size > 0)
}

fn line(from: &mut impl BufRead) -> anyhow::Result<String> {
    let mut text = Vec::new();
    from.take(64 << 10).read_until(b'\n', &mut text)?;
    if text.pop() != Some(b'\n') {
        bail!("the connection was closed");
    }
    let text = String::from_utf8(text).context("a header is not UTF-8")?;
    Ok(text.trim_end_matches('\r').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let mut from: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
        assert!(matches!(head(&mut from).unwrap(), Head { status: 201, length: Length::Bytes(5), .. }));
        let mut from: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert!(matches!(head(&mut from).unwrap(), Head { status: 200, length: Length::Chunks, .. }));
        let mut body = Vec::new();
        while chunk(&mut from, &mut body).unwrap() {}
        assert_eq!(body, b"abcde");
    }

    #[test]
    fn broken_answers_are_errors() {
        for bad in ["", "HTTP/1.1", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert!(head(&mut bad.as_bytes()).is_err(), "{bad:?}");
        }
        for bad in ["", "zz\r\n", "5\r\nab", "2\r\nabXX", "ffffffffffffffff\r\n"] {
            assert!(chunk(&mut bad.as_bytes(), &mut Vec::new()).is_err(), "{bad:?}");
        }
    }
}
