//! `/healthz`, `/livez`, `/readyz`: named checks, each of which can be asked for alone or left out.
use crate::answer::{Reply, full};
use futures::future::BoxFuture;
use http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use skiff_request::Query;
use skiff_telemetry::metrics::Exposition;
use std::{collections::BTreeMap, fmt::Write, sync::Arc};

/// A named check: Err says why not.
#[derive(Clone)]
pub struct Check {
    pub name: String,
    /// Asked for `/readyz` alone: what is alive may yet have to wait for it.
    pub of_readiness: bool,
    pub run: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

impl Check {
    /// A check that answers at once.
    pub fn new(name: impl Into<String>, run: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self::waiting(name, move || std::future::ready(run()))
    }
    /// A check that asks somebody; it bounds its wait itself.
    pub fn waiting<F: Future<Output = Result<(), String>> + Send + 'static>(name: impl Into<String>, run: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self { name: name.into(), of_readiness: false, run: Arc::new(move || Box::pin(run())) }
    }
    #[must_use]
    pub fn of_readiness(self) -> Self {
        Self { of_readiness: true, ..self }
    }
    /// Whether `healthz`, `livez` or `readyz` asks it.
    pub(crate) fn asked_by(&self, what: &str) -> bool {
        !self.of_readiness || what == "readyz"
    }
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
pub(crate) async fn answer(what: &str, one: Option<&str>, checks: &[Check], query: &Query, results: &Results) -> Response<Reply> {
    let checks: Vec<&Check> = checks.iter().filter(|c| c.asked_by(what)).collect();
    if let Some(name) = one {
        let Some(c) = checks.iter().find(|c| c.name == name) else { return text(StatusCode::NOT_FOUND, "404 page not found\n".into()) };
        return alone((c.run)().await);
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let (mut report, mut failures) = (String::new(), String::new());
    for c in &checks {
        if excluded.contains(&c.name.as_str()) {
            let _ = writeln!(report, "[+]{} excluded: ok", c.name);
            continue;
        }
        let result = (c.run)().await;
        results.note(what, &c.name, result.is_ok());
        match result {
            Ok(()) => {
                let _ = writeln!(report, "[+]{} ok", c.name);
            }
            Err(why) => {
                let _ = writeln!(failures, "{}: {why}", c.name);
                let _ = writeln!(report, "[-]{} failed: reason withheld", c.name);
            }
        }
    }
    let unknown: Vec<String> = excluded.iter().filter(|e| !checks.iter().any(|c| c.name == **e)).map(|e| format!("{e:?}")).collect();
    if !unknown.is_empty() {
        let _ = writeln!(report, "warn: some health checks cannot be excluded: no matches for {}", unknown.join(", "));
    }
    if !failures.is_empty() {
        tracing::warn!(target: "api", what, failures = failures.trim_end(), "health checks failed");
        return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{report}{what} check failed\n"));
    }
    if query.get("verbose").is_some() {
        return text(StatusCode::OK, format!("{report}{what} check passed\n"));
    }
    text(StatusCode::OK, "ok".into())
}

/// The answer of a check that was asked for by its name: who may ask so is told why.
fn alone(result: Result<(), String>) -> Response<Reply> {
    match result {
        Ok(()) => text(StatusCode::OK, "ok".into()),
        Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
    }
}

fn text(code: StatusCode, body: String) -> Response<Reply> {
    let mut r = Response::new(full(body));
    *r.status_mut() = code;
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    r.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    r
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn checks() -> Vec<Check> {
        vec![
            Check::new("ping", || Ok(())),
            Check::new("poststarthook/rbac/bootstrap-roles", || Err("not yet".into())),
            Check::new("shutdown", || Ok(())).of_readiness(),
        ]
    }
    async fn asked(what: &str, one: Option<&str>, query: &[(&str, &str)]) -> (u16, String) {
        let query = Query(query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let r = answer(what, one, &checks(), &query, &Results::default()).await;
        let code = r.status().as_u16();
        (code, String::from_utf8(r.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_is_asked_and_told() {
        let hook = "poststarthook/rbac/bootstrap-roles";
        let (ping, withheld) = ("[+]ping ok\n", format!("[-]{hook} failed: reason withheld\n"));
        let without = format!("[+]{hook} excluded: ok\n");
        for (what, one, query, code, body) in [
            ("livez", None, vec![], 500, format!("{ping}{withheld}livez check failed\n")),
            ("readyz", None, vec![], 500, format!("{ping}{withheld}[+]shutdown ok\nreadyz check failed\n")),
            ("livez", None, vec![("exclude", hook)], 200, "ok".into()),
            ("livez", None, vec![("exclude", hook), ("verbose", "")], 200, format!("{ping}{without}livez check passed\n")),
            (
                "livez",
                None,
                vec![("exclude", hook), ("exclude", "zz"), ("verbose", "")],
                200,
                format!("{ping}{without}warn: some health checks cannot be excluded: no matches for \"zz\"\nlivez check passed\n"),
            ),
            ("livez", Some("ping"), vec![("verbose", "")], 200, "ok".into()),
            ("healthz", Some(hook), vec![], 500, "internal server error: not yet\n".into()),
            ("livez", Some("shutdown"), vec![], 404, "404 page not found\n".into()),
            ("readyz", Some("shutdown"), vec![], 200, "ok".into()),
        ] {
            assert_eq!(asked(what, one, &query).await, (code, body), "{what} {one:?} {query:?}");
        }
    }
}
