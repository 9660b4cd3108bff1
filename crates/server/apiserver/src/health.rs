//! `/healthz`, `/livez`, `/readyz`: named checks, each of which can be asked for alone or left out.
use crate::answer::{Reply, full};
use http::{HeaderValue, Response, StatusCode, header};
use skiff_request::Query;
use std::{fmt::Write, sync::Arc};

/// A named check: Err says why not.
#[derive(Clone)]
pub struct Check {
    pub name: String,
    pub run: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// `what` is `healthz`, `livez` or `readyz`; `one` a single check's name.
pub(crate) fn answer(what: &str, one: Option<&str>, checks: &[Check], query: &Query) -> Response<Reply> {
    let excluded: Vec<&str> = query.all("exclude").collect();
    let chosen: Vec<&Check> = checks.iter().filter(|c| one.is_none_or(|o| o == c.name)).collect();
    if chosen.is_empty() && one.is_some() {
        return text(StatusCode::NOT_FOUND, "404 page not found\n".into());
    }
    let (mut report, mut failed) = (String::new(), false);
    for c in chosen {
        if excluded.contains(&c.name.as_str()) {
            let _ = writeln!(report, "[+]{} excluded: ok", c.name);
            continue;
        }
        match (c.run)() {
            Ok(()) => {
                let _ = writeln!(report, "[+]{} ok", c.name);
            }
            Err(_) => {
                failed = true;
                let _ = writeln!(report, "[-]{} failed: reason withheld", c.name);
            }
        }
    }
    let unknown: Vec<String> = excluded.iter().filter(|e| !checks.iter().any(|c| c.name == **e)).map(|e| format!("{e:?}")).collect();
    if !unknown.is_empty() {
        let _ = writeln!(report, "warn: some health checks cannot be excluded: no matches for {}", unknown.join(", "));
    }
    if failed {
        return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{report}{what} check failed\n"));
    }
    if query.get("verbose").is_some() && one.is_none() {
        return text(StatusCode::OK, format!("{report}{what} check passed\n"));
    }
    text(StatusCode::OK, "ok".into())
}

fn text(code: StatusCode, body: String) -> Response<Reply> {
    let mut r = Response::new(full(body));
    *r.status_mut() = code;
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    r.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    r
}
