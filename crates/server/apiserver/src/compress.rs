//! Large answers go out packed, when the client can unpack them. Watches never do.
use crate::{
    answer::{Failure, Reply},
    pieces::Unfinished,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Response, header, request::Parts};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::{
    io::Write,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Answers below this go out as they are, as upstream's do.
const SMALLEST: u64 = 128 * 1024;
/// Bytes taken out of the packer at once, at the least.
const PACKED: usize = 32 << 10;
/// Bytes packed at once: more would keep other requests waiting.
const STEP: usize = 128 << 10;

/// Whether `gzip` stands there by itself: as upstream, what has a weight or any other parameter is not looked at.
pub(crate) fn accepts(parts: &Parts) -> bool {
    parts.headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|v| v.split(',').any(|e| e.trim() == "gzip"))
}

pub(crate) fn packed(parts: &Parts, response: Response<Reply>) -> Response<Reply> {
    // A stream has no exact size, and is none of those that are made while they are sent.
    let large = response.body().size_hint().exact().is_some_and(|n| n >= SMALLEST) || response.extensions().get::<Unfinished>().is_some();
    if !large || !accepts(parts) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let mut response = response.map(|body| Packing::new(body).boxed());
    response.extensions_mut().insert(Unfinished);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.remove(header::CONTENT_LENGTH);
    response
}

/// Packs a body as it comes.
struct Packing {
    body: Reply,
    /// Of the frame at hand, what is not packed.
    rest: Bytes,
    /// None at the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Packing {
    fn new(body: Reply) -> Self {
        Self { body, rest: Bytes::new(), encoder: Some(GzEncoder::new(Vec::with_capacity(2 * PACKED), Compression::new(1))) }
    }
}

impl Body for Packing {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        while let Some(encoder) = &mut this.encoder {
            if this.rest.is_empty() {
                match ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()? {
                    Some(frame) => this.rest = frame.into_data().unwrap_or_default(),
                    None => {
                        let last = this.encoder.take().map_or_else(|| Ok(Vec::new()), GzEncoder::finish)?;
                        return Poll::Ready(Some(Ok(Frame::data(last.into()))));
                    }
                }
            }
            let step = this.rest.split_to(this.rest.len().min(STEP));
            encoder.write_all(&step)?;
            if encoder.get_ref().len() >= PACKED {
                let made = std::mem::replace(encoder.get_mut(), Vec::with_capacity(2 * PACKED));
                return Poll::Ready(Some(Ok(Frame::data(made.into()))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::full;
    use std::io::Read;

    fn asking(encodings: &'static str) -> Parts {
        http::Request::builder().header(header::ACCEPT_ENCODING, encodings).body(()).unwrap().into_parts().0
    }

    #[tokio::test]
    async fn what_is_large_is_packed_as_it_comes() {
        let text: Vec<u8> = (0..3 * STEP as u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let response = packed(&asking("br;q=0.5, gzip"), Response::new(full(text.clone())));
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let mut body = response.into_body();
        let (mut all, mut frames) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame.unwrap().into_data().unwrap());
            frames += 1;
        }
        assert!(frames > 3);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&all[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == text);
    }

    #[test]
    fn what_is_small_or_not_wanted_goes_as_it_is() {
        let small = packed(&asking("gzip"), Response::new(full(vec![0; SMALLEST as usize - 1])));
        let unwanted = ["br", "gzip;q=0", "gzip;q=0.5, identity"].map(|a| packed(&asking(a), Response::new(full(vec![0; SMALLEST as usize]))));
        for r in std::iter::once(small).chain(unwanted) {
            assert!(!r.headers().contains_key(header::CONTENT_ENCODING) && r.body().size_hint().exact().is_some());
        }
    }
}
