//! From an HTTP request to a call: query, body, limits.
use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use skiff_meta::{Reason, Status};
use skiff_request::{Query, Verb};
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// Largest body, also after decompression.
pub(crate) const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// Bytes taken in of a body that is refused.
const DRAINED: usize = 64 * 1024 * 1024;

pub(crate) fn query(raw: Option<&str>) -> Query {
    let decode = |s: &str| percent_encoding::percent_decode_str(&s.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = raw.unwrap_or_default().split('&').filter(|p| !p.is_empty()).map(|p| {
        let (k, v) = p.split_once('=').unwrap_or((p, ""));
        (decode(k), decode(v))
    });
    Query(pairs.collect())
}

pub(crate) fn verb(method: &Method, name: &str, watch: bool) -> Option<Verb> {
    Some(match *method {
        Method::GET | Method::HEAD if watch => Verb::Watch,
        Method::GET | Method::HEAD if name.is_empty() => Verb::List,
        Method::GET | Method::HEAD => Verb::Get,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if name.is_empty() => Verb::DeleteCollection,
        Method::DELETE => Verb::Delete,
        _ => return None,
    })
}

fn too_large() -> Status {
    Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {BODY_LIMIT}"))
}

/// The whole body as it came, within the limit.
pub(crate) async fn body(mut body: Incoming) -> Result<Bytes, Status> {
    let mut out = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Status::bad_request(format!("the body could not be read: {e}")))?;
        if let Ok(data) = frame.into_data() {
            if out.len() + data.len() > BODY_LIMIT {
                tokio::spawn(drain(body));
                return Err(too_large());
            }
            out.extend_from_slice(&data);
        }
    }
    Ok(out.freeze())
}

/// Whether a body has to be unpacked.
pub(crate) fn packed(headers: &HeaderMap) -> bool {
    headers.get("content-encoding").is_some_and(|v| v.as_bytes() == b"gzip")
}

/// Takes in the rest of a body that is refused, so that the client gets to read why: a connection that is closed while
/// there is more to read is reset, and its answer lost. Whoever sends without end is cut off.
async fn drain(mut body: Incoming) {
    let all = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAINED {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), all).await;
}

/// A packed body, unpacked within the same limit.
pub(crate) fn unpack(packed: &[u8]) -> Result<Bytes, Status> {
    struct Limited(Vec<u8>);
    impl Write for Limited {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            if self.0.len() + data.len() > BODY_LIMIT {
                return Err(std::io::ErrorKind::FileTooLarge.into());
            }
            self.0.extend_from_slice(data);
            Ok(data.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut decoder = GzDecoder::new(Limited(Vec::new()));
    let done = decoder.write_all(packed).and_then(|()| decoder.finish());
    match done {
        Ok(l) => Ok(l.0.into()),
        Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => Err(too_large()),
        Err(e) => Err(Status::bad_request(format!("the body could not be unpacked: {e}"))),
    }
}

/// The address that a request came from; among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub IpAddr);

/// Where a request came from, through which proxies, as far as they tell: `X-Forwarded-For`, `X-Real-Ip`, and the address
/// of the connection, which alone cannot be made up.
pub(crate) fn sources(headers: &HeaderMap, peer: Option<IpAddr>) -> Vec<IpAddr> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut all: Vec<IpAddr> = text("x-forwarded-for").split(',').filter_map(|p| p.trim().parse().ok()).collect();
    if let Some(real) = text("x-real-ip").trim().parse().ok().filter(|ip| !all.contains(ip)) {
        all.push(real);
    }
    if let Some(peer) = peer.filter(|p| all.last() != Some(p)) {
        all.push(peer);
    }
    all
}

/// The id of a request: its client's own, or a new one, which then is among the headers, so that backends get it, too.
pub(crate) fn audit_id(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(given) = headers.get("audit-id").filter(|v| !v.is_empty()) {
        return given.clone();
    }
    let fresh = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("-"));
    headers.insert("audit-id", fresh.clone());
    fresh
}

/// A media type without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = text.split(';').next().unwrap_or_default().trim();
    if media.is_empty() { "application/json".to_owned() } else { media.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn queries_are_decoded() {
        let q = query(Some("a=b%2Fc&d&e=x+y"));
        assert_eq!((q.get("a"), q.get("d"), q.get("e")), (Some("b/c"), Some(""), Some("x y")));
    }
    #[test]
    fn sources_are_proxies_and_the_connection() {
        let of = |pairs: &[(&'static str, &'static str)], peer: &str| {
            let headers: HeaderMap = pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), HeaderValue::from_static(v))).collect();
            sources(&headers, peer.parse().ok()).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&[], "10.0.0.9"), "10.0.0.9");
        assert_eq!(of(&[("x-forwarded-for", "1.1.1.1, nonsense,2.2.2.2"), ("x-real-ip", "1.1.1.1")], "2.2.2.2"), "1.1.1.1 2.2.2.2");
        assert_eq!(of(&[("x-forwarded-for", "::1"), ("x-real-ip", "3.3.3.3")], "4.4.4.4"), "::1 3.3.3.3 4.4.4.4");
    }
    #[test]
    fn bombs_are_refused() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..8 {
            packer.write_all(&vec![0; 1 << 20]).unwrap();
        }
        assert_eq!(unpack(&packer.finish().unwrap()).unwrap_err().code, 413);
    }
}
