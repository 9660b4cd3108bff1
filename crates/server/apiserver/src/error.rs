//! A failure as an HTTP answer.
use crate::{
    answer::{self, Reply, full, warn_all},
    inbound,
    negotiate::{self, Form},
    server,
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use skiff_meta::{GroupVersionKind, Status};

pub(crate) fn status_code(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The Status in the encoding that is asked for, or as JSON when none of those can be made.
fn encoded(parts: &Parts, status: &Status) -> (Form, Bytes) {
    let json = Bytes::from(status.to_json());
    let pretty = server::pretty(parts, &inbound::query(parts.uri.query()));
    let form = negotiate::negotiate(server::accept(parts), pretty, true, negotiate::Shapes::Nothing).unwrap_or(Form::JSON);
    match answer::encode(&form, &GroupVersionKind::new("", "v1", "Status"), json.clone()) {
        Ok(body) => (form, body),
        Err(_) => (Form::JSON, json),
    }
}

/// The Status; `Retry-After` and warnings where it has them.
pub(crate) fn failure(parts: &Parts, status: &Status) -> Response<Reply> {
    let (form, body) = encoded(parts, status);
    let mut response = Response::new(full(body));
    *response.status_mut() = status_code(status.code);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Some(seconds) = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status.unauthorized {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    warn_all(headers, &status.warnings);
    response
}

/// What upstream answers where nobody serves anything: no Status, but Go's own words.
pub(crate) fn missing() -> Response<Reply> {
    let mut response = Response::new(full("404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
