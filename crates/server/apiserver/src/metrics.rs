//! `/metrics`: what the server counts about itself, in Prometheus's text form.
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// What a request is counted under.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels {
    pub verb: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
}

const BUCKETS: [f64; 10] = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 1.0, 2.0, 5.0, 30.0];

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(Labels, u16), u64>>,
    durations: Mutex<BTreeMap<Labels, Histogram>>,
    /// Requests that are being answered, watches apart.
    pub inflight: AtomicI64,
    pub watches: AtomicI64,
}

impl Metrics {
    pub fn answered(&self, labels: Labels, code: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut durations = self.durations.lock();
        let h = durations.entry(labels.clone()).or_default();
        for (slot, _) in h.buckets.iter_mut().zip(BUCKETS).filter(|(_, b)| seconds <= *b) {
            *slot += 1;
        }
        h.count += 1;
        h.sum += seconds;
        drop(durations);
        *self.requests.lock().entry((labels, code)).or_default() += 1;
    }

    pub fn text(&self, revision: u64) -> String {
        let mut out = String::new();
        let label = |l: &Labels| format!("verb={:?},group={:?},version={:?},resource={:?},subresource={:?}", l.verb, l.group, l.version, l.resource, l.subresource);
        out += "# HELP apiserver_request_total Requests answered.\n# TYPE apiserver_request_total counter\n";
        for ((l, code), n) in &*self.requests.lock() {
            let _ = writeln!(out, "apiserver_request_total{{{},code=\"{code}\"}} {n}", label(l));
        }
        out += "# HELP apiserver_request_duration_seconds Time to answer, without watches.\n# TYPE apiserver_request_duration_seconds histogram\n";
        for (l, h) in &*self.durations.lock() {
            let l = label(l);
            for (n, le) in h.buckets.iter().zip(BUCKETS) {
                let _ = writeln!(out, "apiserver_request_duration_seconds_bucket{{{l},le=\"{le}\"}} {n}");
            }
            let _ = writeln!(out, "apiserver_request_duration_seconds_bucket{{{l},le=\"+Inf\"}} {}", h.count);
            let _ = writeln!(out, "apiserver_request_duration_seconds_sum{{{l}}} {}\napiserver_request_duration_seconds_count{{{l}}} {}", h.sum, h.count);
        }
        for (name, help, value) in [
            ("apiserver_current_inflight_requests", "Requests being answered.", self.inflight.load(Ordering::Relaxed)),
            ("apiserver_longrunning_requests", "Watches and connections that are open.", self.watches.load(Ordering::Relaxed)),
            ("skiff_store_revision", "The store's revision.", i64::try_from(revision).unwrap_or(i64::MAX)),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        out
    }
}

/// Counts one up while it lives.
pub(crate) struct Gauge<'a>(&'a AtomicI64);

impl<'a> Gauge<'a> {
    pub fn up(of: &'a AtomicI64) -> Self {
        of.fetch_add(1, Ordering::Relaxed);
        Self(of)
    }
}
impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn requests_are_counted() {
        let m = Metrics::default();
        m.answered(Labels { verb: "GET".into(), resource: "pods".into(), ..Default::default() }, 200, Duration::from_millis(30));
        let text = m.text(7);
        assert!(text.contains("apiserver_request_total{verb=\"GET\",group=\"\",version=\"\",resource=\"pods\",subresource=\"\",code=\"200\"} 1"));
        assert!(text.contains("le=\"0.05\"} 1") && text.contains("le=\"0.025\"} 0") && text.contains("skiff_store_revision 7"));
    }
}
