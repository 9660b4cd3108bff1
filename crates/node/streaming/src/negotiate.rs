//! Which protocol a client and this server both speak.
use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    RemoteCommand,
    PortForward,
    /// A stream that is only read, such as a log; web sockets alone.
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Spdy,
    WebSocket,
}

/// What both sides agreed on.
#[derive(Clone, Debug)]
pub struct Negotiated {
    pub transport: Transport,
    /// `v5.channel.k8s.io`, `portforward.k8s.io`, … Empty: the oldest.
    pub protocol: &'static str,
    /// Of the 101 answer.
    pub headers: HeaderMap,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refused {
    #[error("unable to upgrade: missing upgrade headers in request")]
    NoUpgrade,
    #[error("unable to upgrade: unable to negotiate protocol: client supports [{client}], server accepts [{server}]")]
    NoProtocol { client: String, server: String },
    #[error("bad WebSocket handshake: {0}")]
    Handshake(&'static str),
}

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const COMMAND_SPDY: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
const COMMAND_WS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io"];
/// Of a stream that is only read.
const READ_WS: &[&str] = &["binary.k8s.io", "base64.binary.k8s.io"];
const FORWARD_SPDY: &[&str] = &["portforward.k8s.io"];
const FORWARD_WS: &[&str] = &["SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/// All comma-separated words of a header, over all of its lines.
fn words(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|l| l.split(',')).map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect()
}

fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    words(headers, name).iter().any(|w| w.eq_ignore_ascii_case(word))
}

/// The client's first choice that the server knows.
fn choose(client: &[String], server: &'static [&'static str]) -> Result<&'static str, Refused> {
    let found = client.iter().find_map(|c| server.iter().find(|s| *s == c));
    found.copied().ok_or_else(|| Refused::NoProtocol { client: client.join(" "), server: server.join(" ") })
}

pub fn negotiate(request: &HeaderMap, purpose: Purpose) -> Result<Negotiated, Refused> {
    if !has(request, &header::CONNECTION, "upgrade") {
        return Err(Refused::NoUpgrade);
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if has(request, &header::UPGRADE, "websocket") {
        return websocket(request, purpose, headers);
    }
    if !has(request, &header::UPGRADE, "SPDY/3.1") {
        return Err(Refused::NoUpgrade);
    }
    let asked = words(request, &STREAM_PROTOCOL);
    let (server, oldest) = match purpose {
        Purpose::RemoteCommand => (COMMAND_SPDY, "channel.k8s.io"),
        Purpose::PortForward => (FORWARD_SPDY, "portforward.k8s.io"),
        Purpose::Read => return Err(Refused::NoUpgrade),
    };
    let protocol = if asked.is_empty() { oldest } else { choose(&asked, server)? };
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    if !asked.is_empty() {
        headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(Negotiated { transport: Transport::Spdy, protocol, headers })
}

fn websocket(request: &HeaderMap, purpose: Purpose, mut headers: HeaderMap) -> Result<Negotiated, Refused> {
    let key = request.get(header::SEC_WEBSOCKET_KEY).ok_or(Refused::Handshake("Sec-WebSocket-Key is missing"))?;
    if request.get(header::SEC_WEBSOCKET_VERSION).and_then(|v| v.to_str().ok()) != Some("13") {
        return Err(Refused::Handshake("only version 13 is spoken"));
    }
    let asked = words(request, &header::SEC_WEBSOCKET_PROTOCOL);
    let server = match purpose {
        Purpose::RemoteCommand => COMMAND_WS,
        Purpose::PortForward => FORWARD_WS,
        Purpose::Read => READ_WS,
    };
    let protocol = match (asked.is_empty(), purpose) {
        (true, Purpose::RemoteCommand | Purpose::Read) => "",
        (true, Purpose::PortForward) => "v4.channel.k8s.io",
        (false, _) => choose(&asked, server)?,
    };
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&accept_key(key.as_bytes())).map_err(|_| Refused::Handshake("Sec-WebSocket-Key is no text"))?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if !asked.is_empty() {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(Negotiated { transport: Transport::WebSocket, protocol, headers })
}

/// RFC 6455, section 4.2.2.
fn accept_key(key: &[u8]) -> String {
    let mut c = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    c.update(key);
    c.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(c.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }
    #[test]
    fn the_key_of_the_standard() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
    #[test]
    fn choices() {
        let spdy = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "channel.k8s.io"),
        ]);
        let n = negotiate(&spdy, Purpose::RemoteCommand).unwrap();
        assert_eq!((n.transport, n.protocol), (Transport::Spdy, "v4.channel.k8s.io"));
        let ws = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "x"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io"),
        ]);
        assert_eq!(negotiate(&ws, Purpose::RemoteCommand).unwrap().protocol, "v5.channel.k8s.io");
        assert!(matches!(negotiate(&headers(&[]), Purpose::RemoteCommand), Err(Refused::NoUpgrade)));
        let other = headers(&[("connection", "upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v9")]);
        assert!(matches!(negotiate(&other, Purpose::PortForward), Err(Refused::NoProtocol { .. })));
    }
}
