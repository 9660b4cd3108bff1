//! `/healthz`, `/livez`, `/readyz`: named checks, each of which can be asked for alone or left out.
use crate::answer::{Reply, full};
use http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use skiff_request::Query;
use skiff_telemetry::metrics::Exposition;
use std::{collections::BTreeMap, fmt::Write, sync::Arc};

/// A named check: Err says why not.
#[derive(Clone)]
pub struct Check {
    pub name: String,
    pub run: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// What checks have come to, for `/metrics/slis`.
#[derive(Default)]
pub(crate) struct Results(Mutex<BTreeMap<(String, &'static str), Outcome>>);

/// The last one, successes and errors.
#[derive(Clone, Copy, Default)]
struct Outcome {
    well: bool,
    successes: u64,
    errors: u64,
}

impl Results {
    fn note(&self, what: &str, name: &str, well: bool) {
        let Some(kind) = ["healthz", "livez", "readyz"].into_iter().find(|k| *k == what) else { return };
        let mut all = self.0.lock();
        let r = all.entry((name.to_owned(), kind)).or_default();
        r.well = well;
        if well { r.successes += 1 } else { r.errors += 1 }
    }
    pub fn write(&self, out: &mut Exposition) {
        let all = self.0.lock();
        out.family("kubernetes_healthcheck", "gauge", "Result of a health check");
        for ((name, kind), r) in &*all {
            out.sample("kubernetes_healthcheck", &[("name", name), ("type", kind)], u8::from(r.well));
        }
        out.family("kubernetes_healthchecks_total", "counter", "Results of health checks");
        for ((name, kind), r) in &*all {
            for (status, n) in [("error", r.errors), ("success", r.successes)].into_iter().filter(|(_, n)| *n > 0) {
                out.sample("kubernetes_healthchecks_total", &[("name", name), ("status", status), ("type", kind)], n);
            }
        }
    }
}

/// `what` is `healthz`, `livez` or `readyz`; `one` a single check's name.
pub(crate) fn answer(what: &str, one: Option<&str>, checks: &[Check], query: &Query, results: &Results) -> Response<Reply> {
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
        let result = (c.run)();
        results.note(what, &c.name, result.is_ok());
        match result {
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
