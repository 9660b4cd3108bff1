//! A failure as an HTTP answer.
use crate::answer::{Reply, full, warn};
use http::{HeaderValue, Response, StatusCode, header};
use skiff_meta::Status;

pub(crate) fn status_code(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The Status as JSON; `Retry-After` and warnings where it has them.
pub(crate) fn failure(status: &Status) -> Response<Reply> {
    let mut response = Response::new(full(status.to_json()));
    *response.status_mut() = status_code(status.code);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Some(seconds) = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    let mut told = std::collections::HashSet::new();
    for w in status.warnings.iter().filter(|w| told.insert(*w)) {
        warn(headers, w);
    }
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
