//! A failure as an HTTP answer.
use crate::answer::{Reply, full};
use http::{HeaderValue, Response, StatusCode, header};
use skiff_meta::Status;

pub(crate) fn status_code(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The Status as JSON; `Retry-After` where it has one.
pub(crate) fn failure(status: &Status) -> Response<Reply> {
    let mut response = Response::new(full(status.to_json()));
    *response.status_mut() = status_code(status.code);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Some(seconds) = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
