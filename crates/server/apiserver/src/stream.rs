//! Watches on the wire: one JSON document a line, or length-delimited protobuf frames.
use crate::{
    answer::{Failure, Rendering, Reply},
    negotiate::{Encoding, Form, Shape},
    table,
};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use skiff_meta::{GroupVersionKind, Status};
use skiff_request::{WatchEvent, WatchKind, WatchStream};

/// Slots of shared frames.
const JSON: usize = 0;
const PROTOBUF: usize = 1;

struct Writer {
    form: Form,
    kind: GroupVersionKind,
    columns: table::Source,
    started: bool,
}

pub(crate) fn respond(kind: GroupVersionKind, events: WatchStream, r: &Rendering<'_>) -> Response<Reply> {
    let mut writer = Writer { form: r.form.clone(), kind, columns: r.columns.clone(), started: false };
    let watched = r.watched.clone();
    let frames = events.map(move |e| {
        let frame = writer.frame(&e);
        if let Some(w) = watched.as_ref().filter(|_| e.kind != WatchKind::Bookmark) {
            w.sent(frame.len());
        }
        Ok::<_, Failure>(Frame::data(frame))
    });
    let frames = frames.take_until(r.stop.clone().cancelled_owned());
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(SyncStream::new(frames))));
    let media = match r.form.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Yaml => "application/yaml",
        Encoding::Json => "application/json",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

impl Writer {
    fn frame(&mut self, e: &WatchEvent) -> Bytes {
        let first = !std::mem::replace(&mut self.started, true);
        let whole = self.form.shape == Shape::Whole || e.kind == WatchKind::Error;
        match (&e.shared, self.form.encoding) {
            (Some(shared), Encoding::Json) if whole => shared.frame(JSON, &|| line(e.kind, &e.object)),
            (Some(shared), Encoding::Protobuf) if whole => shared.frame(PROTOBUF, &|| self.protobuf(e.kind, &e.object)),
            (_, Encoding::Protobuf) => {
                let object = self.object(e, whole, first);
                self.protobuf(e.kind, &object)
            }
            _ => line(e.kind, &self.object(e, whole, first)),
        }
    }

    /// The event's object in the shape asked for.
    fn object(&self, e: &WatchEvent, whole: bool, first: bool) -> Bytes {
        if whole {
            return e.object.clone();
        }
        let made = match self.form.shape {
            Shape::Table => table::of_event(&self.columns, &e.object, first),
            _ => table::metadata_of(&self.columns, &e.object),
        };
        made.unwrap_or_else(|s| s.to_json().into())
    }

    fn protobuf(&self, event: WatchKind, object: &Bytes) -> Bytes {
        crate::wire::protobuf_event(&self.kind, &self.form, event.as_str(), object).unwrap_or_else(|s: Status| line(WatchKind::Error, &s.to_json().into()))
    }
}

fn line(kind: WatchKind, object: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + 32);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    out.into()
}

/// hyper's boxed bodies must be `Sync`; a stream that is only ever polled through `&mut` is safe to share.
pub(crate) struct SyncStream<S>(parking_lot::Mutex<std::pin::Pin<Box<S>>>);

impl<S> SyncStream<S> {
    pub(crate) fn new(s: S) -> Self {
        Self(parking_lot::Mutex::new(Box::pin(s)))
    }
}
impl<S: futures::Stream> futures::Stream for SyncStream<S> {
    type Item = S::Item;
    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<S::Item>> {
        self.0.get_mut().as_mut().poll_next(cx)
    }
}
