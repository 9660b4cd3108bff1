//! What the server counts about itself, under upstream's names.
//!
//! Labels come from outside, so only what the server knows becomes one: resources of its table, paths of its own.
use crate::{aside::Past, asked::Asked};
use http::{Method, request::Parts};
use parking_lot::{Mutex, RwLock};
use skiff_meta::GroupVersionResource;
use skiff_request::{PatchType, Verb};
use skiff_telemetry::metrics::{Exposition, Histogram, LabelPair};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a request is counted under.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Labels {
    verb: &'static str,
    group: Cow<'static, str>,
    version: Cow<'static, str>,
    resource: Cow<'static, str>,
    subresource: Cow<'static, str>,
    scope: &'static str,
    dry_run: bool,
}

/// Paths that are counted by themselves.
const PATHS: [&str; 12] =
    ["/statusz", "/flagz", "/healthz", "/livez", "/readyz", "/metrics", "/metrics/slis", "/version", "/api", "/apis", "/openapi/v2", "/openapi/v3"];

impl Labels {
    /// `known`: whether a resource, or with it a subresource, is served here.
    pub fn of(parts: &Parts, asked: &Asked, known: impl Fn(&GroupVersionResource, &str) -> bool) -> Self {
        let mut l = Labels { verb: verb(&parts.method), ..Default::default() };
        let Some(target) = asked.target() else {
            let path = parts.uri.path();
            l.subresource = PATHS.iter().find(|p| **p == path).copied().unwrap_or_default().into();
            return l;
        };
        if !known(&target.resource, &target.subresource) {
            return l;
        }
        l.verb = match asked.verb {
            _ if asked.long_running && asked.verb != Some(Verb::Watch) => "CONNECT",
            Some(Verb::List) => "LIST",
            Some(Verb::Watch) => "WATCH",
            Some(Verb::DeleteCollection) => "DELETECOLLECTION",
            Some(Verb::Patch) if parts.headers.get("content-type").is_some_and(|c| c.as_bytes().starts_with(PatchType::Apply.media_type().as_bytes())) => {
                "APPLY"
            }
            _ => l.verb,
        };
        l.scope = match (target.name.is_empty(), target.namespace.is_empty(), asked.verb) {
            (false, ..) | (_, _, Some(Verb::Create)) => "resource",
            (_, false, _) => "namespace",
            _ => "cluster",
        };
        let r = &target.resource;
        (l.group, l.version, l.resource) = (r.group.clone(), r.version.clone(), r.resource.clone());
        l.subresource = target.subresource.clone().into();
        l.dry_run = asked.query.get("dryRun").is_some_and(|d| !d.is_empty());
        l
    }

    fn pairs(&self) -> Vec<LabelPair<'_>> {
        vec![
            ("component", "apiserver"),
            ("dry_run", if self.dry_run { "All" } else { "" }),
            ("group", &self.group),
            ("resource", &self.resource),
            ("scope", self.scope),
            ("subresource", &self.subresource),
            ("verb", self.verb),
            ("version", &self.version),
        ]
    }
    fn without(&self, name: &str) -> Vec<LabelPair<'_>> {
        self.pairs().into_iter().filter(|(n, _)| *n != name).collect()
    }
    /// Whether service levels are measured by it.
    fn lasting(&self) -> bool {
        matches!(self.verb, "WATCH" | "CONNECT")
    }
}

fn verb(m: &Method) -> &'static str {
    match m.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "OTHER",
    }
}

const SECONDS: &[f64] = &[0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
const SLI_SECONDS: &[f64] = &[0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
const SIZES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const EVENT_SIZES: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];

/// Bounds of bodies' bytes: 31 steps of 100,000.
static BODIES: LazyLock<Vec<f64>> = LazyLock::new(|| (0..31).map(|i| f64::from(i) * 1e5 + 5e4).collect());
/// What `fieldValidation` may be.
const VALIDATIONS: [&str; 4] = ["", "Ignore", "Warn", "Strict"];
const FILTERS: [&str; 4] = ["authentication", "audit", "impersonation", "priorityandfairness"];
const FILTER_SECONDS: &[f64] = &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0, 10.0, 15.0, 30.0];

/// Steps on a request's way before it is worked on.
#[derive(Clone, Copy)]
pub(crate) enum Filter {
    Authentication,
    Audit,
    Impersonation,
    Fairness,
}

/// How long each of [`FILTERS`] took.
pub(crate) struct Filters([Histogram; FILTERS.len()]);

impl Default for Filters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Histogram::new(FILTER_SECONDS)))
    }
}
impl Filters {
    pub fn took(&self, filter: Filter, since: std::time::Instant) {
        self.0[filter as usize].observe(since.elapsed().as_secs_f64());
    }
}

/// Counts of requests that are alike.
#[derive(Debug)]
pub(crate) struct Series {
    labels: Labels,
    codes: Mutex<BTreeMap<u16, u64>>,
    duration: Histogram,
    sli: Histogram,
    sizes: Histogram,
    /// Bytes of bodies, and seconds by how unknown fields were to be treated; made when first needed.
    bodies: OnceLock<Histogram>,
    validated: [OnceLock<Histogram>; VALIDATIONS.len()],
    /// Of watches and connections, those that are open.
    open: AtomicI64,
    /// Whether these compute for long.
    pub past: Past,
}

/// Events sent to watches of one resource.
#[derive(Debug)]
pub(crate) struct WatchCounts {
    resource: GroupVersionResource,
    sizes: Histogram,
}

impl WatchCounts {
    pub fn sent(&self, bytes: usize) {
        self.sizes.observe(bytes as f64);
    }
}

/// How long it took to recognise users.
#[derive(Debug)]
pub(crate) struct AuthenticationTimes(pub Histogram);

impl Default for AuthenticationTimes {
    fn default() -> Self {
        const BOUNDS: &[f64] = &[0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];
        Self(Histogram::new(BOUNDS))
    }
}

/// Seconds that certificates of clients were still good for when they came.
#[derive(Debug)]
pub(crate) struct Expirations(pub Histogram);

impl Default for Expirations {
    fn default() -> Self {
        const DAY: f64 = 86_400.0;
        const BOUNDS: &[f64] =
            &[0.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 43_200.0, DAY, 2.0 * DAY, 4.0 * DAY, 7.0 * DAY, 30.0 * DAY, 90.0 * DAY, 180.0 * DAY, 360.0 * DAY];
        Self(Histogram::new(BOUNDS))
    }
}

/// The users that upstream counts by name.
pub(crate) const COUNTED: [&str; 2] = ["admin", "other"];

#[derive(Default)]
pub(crate) struct Metrics {
    series: RwLock<HashMap<Labels, Arc<Series>>>,
    watches: Mutex<BTreeMap<String, Arc<WatchCounts>>>,
    deprecated: Mutex<BTreeMap<Labels, ()>>,
    /// Success, failure.
    pub authentications: [AtomicU64; 2],
    /// The same in seconds.
    pub authentication_times: [AuthenticationTimes; 2],
    /// Requests of the administrator, and of everybody else: names of users are no labels.
    pub by_user: [AtomicU64; 2],
    pub filters: Filters,
    pub handshake_errors: AtomicU64,
    pub expirations: Expirations,
    /// Requests refused because no record of them could be kept.
    pub unrecorded: AtomicU64,
    pub terminations: AtomicU64,
}

impl Metrics {
    pub fn series(&self, labels: Labels) -> Arc<Series> {
        if let Some(s) = self.series.read().get(&labels) {
            return s.clone();
        }
        let fresh = |labels: &Labels| {
            Arc::new(Series {
                labels: labels.clone(),
                codes: Mutex::default(),
                duration: Histogram::new(SECONDS),
                sli: Histogram::new(SLI_SECONDS),
                sizes: Histogram::new(SIZES),
                bodies: OnceLock::new(),
                validated: Default::default(),
                open: AtomicI64::new(0),
                past: Past::default(),
            })
        };
        self.series.write().entry(labels).or_insert_with_key(fresh).clone()
    }

    pub fn watch(&self, resource: &GroupVersionResource) -> Arc<WatchCounts> {
        let fresh = || Arc::new(WatchCounts { resource: resource.clone(), sizes: Histogram::new(EVENT_SIZES) });
        self.watches.lock().entry(resource.to_string()).or_insert_with(fresh).clone()
    }

    /// Somebody uses what is going to be taken away.
    pub fn deprecated(&self, series: &Series) {
        let l = &series.labels;
        let key = Labels { verb: "", scope: "", dry_run: false, ..l.clone() };
        self.deprecated.lock().insert(key, ());
    }

    pub fn write(&self, out: &mut Exposition) {
        let mut all: Vec<Arc<Series>> = self.series.read().values().cloned().collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        out.family("apiserver_request_total", "counter", "Requests answered");
        for s in &all {
            for (code, n) in &*s.codes.lock() {
                let code = code.to_string();
                let mut labels = vec![("code", code.as_str())];
                labels.extend(s.labels.pairs());
                out.sample("apiserver_request_total", &labels, n);
            }
        }
        let name = "apiserver_request_duration_seconds";
        out.family(name, "histogram", "Time to answer; of watches and connections, how long they lasted");
        all.iter().filter(|s| s.duration.count() > 0).for_each(|s| out.histogram(name, &s.labels.pairs(), &s.duration));
        let name = "apiserver_request_sli_duration_seconds";
        out.family(name, "histogram", "Time to answer, without watches and connections");
        all.iter().filter(|s| s.sli.count() > 0).for_each(|s| out.histogram(name, &s.labels.without("dry_run"), &s.sli));
        let name = "apiserver_response_sizes";
        out.family(name, "histogram", "Bytes of answers");
        all.iter().filter(|s| s.sizes.count() > 0).for_each(|s| out.histogram(name, &s.labels.without("dry_run"), &s.sizes));
        let name = "apiserver_longrunning_requests";
        out.family(name, "gauge", "Watches and connections that are open");
        all.iter().filter(|s| s.labels.lasting()).for_each(|s| out.sample(name, &s.labels.without("dry_run"), s.open.load(Ordering::Relaxed)));
        self.watches(out);
        self.bodies(&all, out);
        self.validated(&all, out);
        let name = "apiserver_request_filter_duration_seconds";
        out.family(name, "histogram", "Time of the steps before a request is worked on");
        FILTERS.iter().zip(&self.filters.0).filter(|(_, h)| h.count() > 0).for_each(|(f, h)| out.histogram(name, &[("filter", f)], h));
        let name = "apiserver_requested_deprecated_apis";
        out.family(name, "gauge", "Deprecated APIs that were asked for");
        for l in self.deprecated.lock().keys() {
            out.sample(
                name,
                &[("group", &l.group), ("removed_release", ""), ("resource", &l.resource), ("subresource", &l.subresource), ("version", &l.version)],
                1,
            );
        }
        out.family("authentication_attempts", "counter", "Requests whose user was looked for");
        for (result, n) in ["success", "failure"].iter().zip(&self.authentications) {
            out.sample("authentication_attempts", &[("result", result)], n.load(Ordering::Relaxed));
        }
        let name = "authentication_duration_seconds";
        out.family(name, "histogram", "Time to recognise users");
        for (result, h) in ["success", "failure"].iter().zip(&self.authentication_times).filter(|(_, h)| h.0.count() > 0) {
            out.histogram(name, &[("result", result)], &h.0);
        }
        let name = "apiserver_client_certificate_expiration_seconds";
        out.family(name, "histogram", "Time that certificates of clients were still good for");
        out.histogram(name, &[], &self.expirations.0);
        out.single(
            "apiserver_audit_requests_rejected_total",
            "counter",
            "Requests refused because they could not be recorded",
            self.unrecorded.load(Ordering::Relaxed),
        );
        out.family("authenticated_user_requests", "counter", "Requests of users that were recognised");
        for (user, n) in COUNTED.iter().zip(&self.by_user) {
            out.sample("authenticated_user_requests", &[("username", user)], n.load(Ordering::Relaxed));
        }
        out.family("apiserver_request_terminations_total", "counter", "Requests that were turned away");
        out.sample("apiserver_request_terminations_total", &[("code", "429"), ("component", "apiserver")], self.terminations.load(Ordering::Relaxed));
        out.single("apiserver_tls_handshake_errors_total", "counter", "TLS handshakes that failed", self.handshake_errors.load(Ordering::Relaxed));
    }

    fn bodies(&self, all: &[Arc<Series>], out: &mut Exposition) {
        let name = "apiserver_request_body_size_bytes";
        out.family(name, "histogram", "Bytes of bodies");
        let mut alike: BTreeMap<(&str, &str, &'static str), Vec<&Histogram>> = BTreeMap::new();
        for s in all {
            let verb = match s.labels.verb {
                "POST" => "create",
                "PUT" => "update",
                "PATCH" | "APPLY" => "patch",
                "DELETE" => "delete",
                _ => "delete-collection",
            };
            if let Some(h) = s.bodies.get() {
                alike.entry((&s.labels.group, &s.labels.resource, verb)).or_default().push(h);
            }
        }
        for ((group, resource, verb), h) in alike {
            out.histograms(name, &[("group", group), ("resource", resource), ("verb", verb)], h);
        }
    }

    fn validated(&self, all: &[Arc<Series>], out: &mut Exposition) {
        let name = "field_validation_request_duration_seconds";
        out.family(name, "histogram", "Time of writes by how unknown fields are treated");
        for (i, way) in VALIDATIONS.iter().enumerate() {
            out.histograms(name, &[("field_validation", way)], all.iter().filter_map(|s| s.validated.get(i)?.get()));
        }
    }

    fn watches(&self, out: &mut Exposition) {
        let all: Vec<Arc<WatchCounts>> = self.watches.lock().values().cloned().collect();
        let labels = |w: &WatchCounts| {
            [("group", w.resource.group.to_string()), ("resource", w.resource.resource.to_string()), ("version", w.resource.version.to_string())]
        };
        let name = "apiserver_watch_events_total";
        out.family(name, "counter", "Events sent to watches");
        for w in &all {
            out.sample(name, &labels(w).each_ref().map(|(n, v)| (*n, v.as_str())), w.sizes.count());
        }
        let name = "apiserver_watch_events_sizes";
        out.family(name, "histogram", "Bytes of events sent to watches");
        for w in &all {
            out.histogram(name, &labels(w).each_ref().map(|(n, v)| (*n, v.as_str())), &w.sizes);
        }
    }
}

impl Series {
    pub fn answered(&self, code: u16, took: Duration, bytes: Option<u64>) {
        *self.codes.lock().entry(code).or_default() += 1;
        if let Some(n) = bytes {
            self.sizes.observe(n as f64);
        }
        if !self.labels.lasting() {
            self.duration.observe(took.as_secs_f64());
            self.sli.observe(took.as_secs_f64());
        }
    }
    /// A body of so many bytes came.
    pub fn body(&self, bytes: usize) {
        self.bodies.get_or_init(|| Histogram::new(&BODIES)).observe(bytes as f64);
    }
    /// A write was answered that asked for this `fieldValidation`.
    pub fn validated(&self, way: &str, took: Duration) {
        let cell = VALIDATIONS.iter().position(|v| *v == way).and_then(|i| self.validated.get(i));
        if let Some(cell) = cell {
            cell.get_or_init(|| Histogram::new(SLI_SECONDS)).observe(took.as_secs_f64());
        }
    }
    /// A watch or a connection begins; it ends when what is given is dropped.
    pub fn open(self: &Arc<Self>, begun: std::time::Instant) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open { series: self.clone(), begun }
    }
}

/// An open watch or connection.
#[derive(Debug)]
pub(crate) struct Open {
    series: Arc<Series>,
    begun: std::time::Instant,
}
impl Drop for Open {
    fn drop(&mut self) {
        self.series.open.fetch_sub(1, Ordering::Relaxed);
        self.series.duration.observe(self.begun.elapsed().as_secs_f64());
    }
}

/// A clock tick of the kernel's, in parts of a second.
const TICKS: f64 = 100.0;

/// The fields of `/proc/self/stat` behind the name in brackets: state is the first.
fn stat() -> Vec<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.rsplit_once(") ").map_or_else(Vec::new, |(_, rest)| rest.split(' ').map(|f| f.parse().unwrap_or_default()).collect())
}

/// When the process began, in seconds of Unix time.
pub(crate) fn process_started() -> f64 {
    let kernel = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot: f64 = kernel.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or_default();
    let ticks = stat().get(19).copied().unwrap_or_default();
    boot + ticks / TICKS
}

pub(crate) fn process_start(out: &mut Exposition) {
    out.single("process_start_time_seconds", "gauge", "When the process began, in Unix time", process_started());
}

/// The process itself, as Go's client library reports it.
pub(crate) fn process(out: &mut Exposition) {
    process_start(out);
    let fields = stat();
    let at = |i: usize| fields.get(i).copied().unwrap_or_default();
    const PAGE: f64 = 4096.0;
    out.single("process_cpu_seconds_total", "counter", "CPU time of the process", (at(11) + at(12)) / TICKS);
    out.single("process_virtual_memory_bytes", "gauge", "Virtual memory of the process", at(20));
    out.single("process_resident_memory_bytes", "gauge", "Resident memory of the process", at(21) * PAGE);
    let mut network = [0u64; 2];
    for line in std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default().lines().filter_map(|l| l.split_once(':')) {
        let n: Vec<u64> = line.1.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        network[0] += n.first().copied().unwrap_or_default();
        network[1] += n.get(8).copied().unwrap_or_default();
    }
    out.single("process_network_receive_bytes_total", "counter", "Bytes that came over the network", network[0]);
    out.single("process_network_transmit_bytes_total", "counter", "Bytes that went over the network", network[1]);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    out.single("process_open_fds", "gauge", "Open file descriptors", open);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = |name: &str| limits.lines().find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok());
    out.single("process_max_fds", "gauge", "Most file descriptors that may be open", limit("Max open files").unwrap_or(f64::INFINITY));
    // Upstream shows no limit as the largest number there is.
    out.single("process_virtual_memory_max_bytes", "gauge", "Most virtual memory", limit("Max address space").unwrap_or(u64::MAX as f64));
}

#[cfg(test)]
mod tests {
    use super::*;
    fn labels(method: &str, uri: &str) -> Labels {
        let parts = http::Request::builder().method(method).uri(uri).header("content-type", "application/apply-patch+yaml").body(()).unwrap().into_parts().0;
        Labels::of(&parts, &Asked::of(&parts), |r, sub| r.resource == "pods" && matches!(sub, "" | "log"))
    }
    #[test]
    fn only_what_is_known_becomes_a_label() {
        let of = |l: &Labels| (l.verb, l.resource.to_string(), l.subresource.to_string(), l.scope);
        for (method, uri, want) in [
            ("GET", "/api/v1/namespaces/a/pods", ("LIST", "pods", "", "namespace")),
            ("GET", "/api/v1/pods?watch=1", ("WATCH", "pods", "", "cluster")),
            ("GET", "/api/v1/namespaces/a/pods/b/log", ("CONNECT", "pods", "log", "resource")),
            ("PATCH", "/api/v1/namespaces/a/pods/b", ("APPLY", "pods", "", "resource")),
            ("POST", "/api/v1/namespaces/a/pods", ("POST", "pods", "", "resource")),
            ("GET", "/api/v1/namespaces/a/x1234", ("GET", "", "", "")),
            ("GET", "/api/v1/namespaces/a/pods/b/x1234", ("GET", "", "", "")),
            ("BREW", "/x1234", ("OTHER", "", "", "")),
            ("GET", "/healthz", ("GET", "", "/healthz", "")),
        ] {
            assert_eq!(of(&labels(method, uri)), (want.0, want.1.to_owned(), want.2.to_owned(), want.3), "{method} {uri}");
        }
    }
    #[test]
    fn requests_are_counted() {
        let (m, mut t) = (Metrics::default(), Exposition::default());
        let s = m.series(labels("GET", "/api/v1/pods"));
        s.answered(200, Duration::from_millis(30), Some(10));
        let watch = m.series(labels("GET", "/api/v1/pods?watch=1"));
        let held = watch.open(std::time::Instant::now());
        m.write(&mut t);
        let text = t.text();
        for line in [
            "apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"pods\",scope=\"cluster\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 1",
            "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"pods\",scope=\"cluster\",subresource=\"\",verb=\"WATCH\",version=\"v1\"} 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
        drop(held);
        assert_eq!((watch.open.load(Ordering::Relaxed), watch.duration.count(), watch.sli.count()), (0, 1, 0));
    }
}
