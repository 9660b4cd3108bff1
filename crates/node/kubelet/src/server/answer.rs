//! Shapes of answers.
use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use skiff_meta::Status;
use std::convert::Infallible;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

pub fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn with_type(code: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut r = Response::new(body(bytes));
    *r.status_mut() = code;
    r.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    r
}

pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(code, "text/plain; charset=utf-8", text)
}
pub fn json(value: &skiff_json::Value) -> Response<Body> {
    with_type(StatusCode::OK, "application/json", value.to_string())
}
pub fn metrics(text: String) -> Response<Body> {
    with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}
pub fn error(status: &Status) -> Response<Body> {
    with_type(StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "application/json", status.to_json())
}
