//! Large answers go out packed, when the client can unpack them. Watches never do.
use crate::answer::{Reply, full};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Response, header, request::Parts};
use http_body::Body;
use http_body_util::BodyExt;
use std::io::Write;

/// Answers below this go out as they are, as upstream's do.
const SMALLEST: u64 = 128 * 1024;

pub(crate) fn accepts(parts: &Parts) -> bool {
    parts.headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|v| v.split(',').any(|e| e.trim().split(';').next() == Some("gzip")))
}

pub(crate) async fn packed(parts: &Parts, response: Response<Reply>) -> Response<Reply> {
    // A stream has no exact size.
    let large = response.body().size_hint().exact().is_some_and(|n| n >= SMALLEST);
    if !large || !accepts(parts) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(whole) = body.collect().await else { return Response::from_parts(head, full(Vec::new())) };
    let whole = whole.to_bytes();
    let mut encoder = GzEncoder::new(Vec::with_capacity(whole.len() / 4), Compression::new(1));
    let Ok(packed) = encoder.write_all(&whole).and_then(|()| encoder.finish()) else { return Response::from_parts(head, full(whole)) };
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, full(packed))
}
