//! What the registry counts about itself, under upstream's names: admission by plug-in and by step, authorisation, and what
//! the store was asked to write (upstream's store is etcd, and so are the names).
use crate::table::Resource;
use skiff_policy::Decision;
use skiff_request::Verb;
use skiff_telemetry::metrics::{Exposition, Histogram, Keyed, LabelPair};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const PLUGIN: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const AUTHORIZATION: &[f64] = &[0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];
const STORE: &[f64] = &[0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];

const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];
const TYPES: [&str; 2] = ["admit", "validate"];
const REJECTED: [&str; 2] = ["false", "true"];
const RESULTS: [&str; 3] = ["allowed", "denied", "no-opinion"];

/// By operation, type and outcome; made when it is first needed.
type Steps = [[[OnceLock<Histogram>; 2]; 2]; 4];

/// Which of [`Steps`] something belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    operation: usize,
    validates: bool,
}

impl Step {
    pub fn of(verb: Verb, connect: bool, validates: bool) -> Self {
        let operation = match verb {
            _ if connect => 3,
            Verb::Create => 0,
            Verb::Delete | Verb::DeleteCollection => 2,
            _ => 1,
        };
        Self { operation, validates }
    }
}

pub(crate) struct Counts {
    /// In the order of the plug-ins.
    plugins: Vec<(&'static str, Steps)>,
    steps: Steps,
    authorizations: [Histogram; 3],
    resources: Keyed<String, OfResource>,
}

fn observe(of: &Steps, step: Step, rejected: bool, took: Duration) {
    let cell = of.get(step.operation).map(|o| &o[usize::from(step.validates)][usize::from(rejected)]);
    if let Some(cell) = cell {
        cell.get_or_init(|| Histogram::new(PLUGIN)).observe(took.as_secs_f64());
    }
}

const WRITES: [&str; 3] = ["create", "update", "delete"];
const WAITS: &[f64] = &[0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0];

/// What the store was asked about one resource.
#[derive(Default)]
struct OfResource {
    group: String,
    plural: String,
    /// In the order of [`WRITES`].
    writes: [OnceLock<Histogram>; 3],
    /// Those that succeeded: each is one event.
    events: AtomicU64,
    lists: OnceLock<Histogram>,
    evaluated: AtomicU64,
    returned: AtomicU64,
    /// Waits for a revision that was not there yet.
    waits: OnceLock<Histogram>,
    /// Lists that had to show the latest state.
    consistent: AtomicU64,
}

/// What a list took.
#[derive(Default)]
pub(crate) struct Listed {
    pub evaluated: usize,
    pub returned: usize,
    pub consistent: bool,
}

/// Definitions come and go: past so many resources the others are counted together.
const SERIES: usize = 2048;
const OTHERS: &str = "others";

impl Counts {
    pub fn new(plugins: impl Iterator<Item = &'static str>) -> Self {
        let authorizations = std::array::from_fn(|_| Histogram::new(AUTHORIZATION));
        Self { plugins: plugins.map(|name| (name, Steps::default())).collect(), steps: Steps::default(), authorizations, resources: Keyed::new(SERIES) }
    }

    pub fn plugin(&self, index: usize, step: Step, rejected: bool, took: Duration) {
        if let Some((_, of)) = self.plugins.get(index) {
            observe(of, step, rejected, took);
        }
    }

    pub fn step(&self, step: Step, rejected: bool, took: Duration) {
        observe(&self.steps, step, rejected, took);
    }

    pub fn decided(&self, decision: &Decision, took: Duration) {
        let at = match decision {
            Decision::Allow => 0,
            Decision::Deny(_) => 1,
            Decision::NoOpinion(_) => 2,
        };
        self.authorizations[at].observe(took.as_secs_f64());
    }

    fn of(&self, row: &Resource) -> Arc<OfResource> {
        self.named(&row.storage, &row.group, &row.plural)
    }
    fn named(&self, storage: &str, group: &str, plural: &str) -> Arc<OfResource> {
        let fresh = |key: &String| match key.as_str() {
            OTHERS => OfResource { plural: OTHERS.to_owned(), ..Default::default() },
            _ => OfResource { group: group.to_owned(), plural: plural.to_owned(), ..Default::default() },
        };
        self.resources.of(storage, || storage.to_owned(), || OTHERS.to_owned(), fresh)
    }

    /// `operation`: one of `create`, `update`, `delete`.
    pub fn wrote(&self, row: &Resource, operation: &'static str, done: bool, took: Duration) {
        self.of(row).wrote(operation, done, took);
    }
    pub fn listed(&self, row: &Resource, list: Listed, took: Duration) {
        let of = self.of(row);
        of.lists.get_or_init(|| Histogram::new(STORE)).observe(took.as_secs_f64());
        of.evaluated.fetch_add(list.evaluated as u64, Ordering::Relaxed);
        of.returned.fetch_add(list.returned as u64, Ordering::Relaxed);
        of.consistent.fetch_add(u64::from(list.consistent), Ordering::Relaxed);
    }
    /// A read waited for the store to come to its revision.
    pub fn waited(&self, row: &Resource, took: Duration) {
        self.of(row).waits.get_or_init(|| Histogram::new(WAITS)).observe(took.as_secs_f64());
    }

    pub fn write(&self, out: &mut Exposition) {
        let name = "apiserver_admission_controller_admission_duration_seconds";
        out.family(name, "histogram", "Time of each admission plug-in");
        for (plugin, of) in &self.plugins {
            each(of, |labels, h| {
                let mut all = vec![("name", *plugin)];
                all.extend_from_slice(labels);
                out.histogram(name, &all, h);
            });
        }
        let name = "apiserver_admission_step_admission_duration_seconds";
        out.family(name, "histogram", "Time of all admission plug-ins");
        each(&self.steps, |labels, h| out.histogram(name, labels, h));
        let name = "authorization_attempts_total";
        out.family(name, "counter", "Requests that were authorised or not");
        let decided = || RESULTS.iter().zip(&self.authorizations).filter(|(_, h)| h.count() > 0);
        decided().for_each(|(result, h)| out.sample(name, &[("result", result)], h.count()));
        let name = "authorization_duration_seconds";
        out.family(name, "histogram", "Time to authorise");
        decided().for_each(|(result, h)| out.histogram(name, &[("result", result)], h));
        self.of_resources(out);
    }

    /// What the store did for each resource. Its cache is whole from the start: what it received is what was written, and
    /// each event is handed on once.
    fn of_resources(&self, out: &mut Exposition) {
        let all: Vec<Arc<OfResource>> = self.resources.sorted().into_iter().map(|(_, r)| r).collect();
        let name = "etcd_requests_total";
        out.family(name, "counter", "Writes that the store was asked for");
        writes(&all, |labels, h| out.sample(name, labels, h.count()));
        let name = "etcd_request_duration_seconds";
        out.family(name, "histogram", "Time until a write was durable");
        writes(&all, |labels, h| out.histogram(name, labels, h));
        let counter = |out: &mut Exposition, name: &str, help: &str, stored: bool, of: &dyn Fn(&OfResource) -> u64| {
            out.family(name, "counter", help);
            for r in &all {
                let labels = [("group", r.group.as_str()), ("resource", r.plural.as_str()), ("storage", "watchcache")];
                let n = of(r);
                if n > 0 {
                    out.sample(name, if stored { &labels } else { &labels[..2] }, n);
                }
            }
        };
        let lists = |r: &OfResource| r.lists.get().map_or(0, Histogram::count);
        let (evaluated, returned) = (|r: &OfResource| r.evaluated.load(Ordering::Relaxed), |r: &OfResource| r.returned.load(Ordering::Relaxed));
        for (name, help, of) in [
            ("apiserver_storage_list_total", "Lists", &lists as &dyn Fn(&OfResource) -> u64),
            ("apiserver_storage_list_fetched_objects_total", "Objects that lists read", &evaluated),
        ] {
            out.family(name, "counter", help);
            for r in all.iter().filter(|r| lists(r) > 0) {
                out.sample(name, &[("group", &r.group), ("index", ""), ("resource", &r.plural), ("storage", "watchcache")], of(r));
            }
        }
        counter(out, "apiserver_storage_list_evaluated_objects_total", "Objects that lists tried their selectors on", true, &evaluated);
        counter(out, "apiserver_storage_list_returned_objects_total", "Objects that lists answered with", true, &returned);
        let name = "apiserver_storage_list_duration_seconds";
        out.family(name, "histogram", "Time that the store took for lists");
        for r in &all {
            if let Some(h) = r.lists.get() {
                out.histogram(name, &[("group", &r.group), ("resource", &r.plural), ("streamed", "false")], h);
            }
        }
        let events = |r: &OfResource| r.events.load(Ordering::Relaxed);
        for (name, help) in [
            ("apiserver_storage_events_received_total", "Changes that the store told of"),
            ("apiserver_watch_cache_events_received_total", "Changes that the cache of what is present received"),
            ("apiserver_watch_cache_events_dispatched_total", "Changes that it handed on to watches"),
        ] {
            counter(out, name, help, false, &events);
        }
        let name = "apiserver_watch_cache_consistent_read_total";
        out.family(name, "counter", "Lists that had to show the latest state");
        for r in all.iter().filter(|r| r.consistent.load(Ordering::Relaxed) > 0) {
            out.sample(name, &[("fallback", "false"), ("group", &r.group), ("resource", &r.plural), ("success", "true")], r.consistent.load(Ordering::Relaxed));
        }
        let name = "apiserver_watch_cache_read_wait_seconds";
        out.family(name, "histogram", "Time that reads waited for their revision");
        for r in &all {
            if let Some(h) = r.waits.get() {
                out.histogram(name, &[("group", &r.group), ("resource", &r.plural)], h);
            }
        }
    }
}

impl OfResource {
    fn wrote(&self, operation: &'static str, done: bool, took: Duration) {
        if let Some(cell) = WRITES.iter().position(|w| *w == operation).and_then(|i| self.writes.get(i)) {
            cell.get_or_init(|| Histogram::new(STORE)).observe(took.as_secs_f64());
        }
        self.events.fetch_add(u64::from(done), Ordering::Relaxed);
    }
}

fn writes(all: &[Arc<OfResource>], mut tell: impl FnMut(&[LabelPair<'_>], &Histogram)) {
    for r in all {
        for (operation, cell) in WRITES.iter().zip(&r.writes) {
            if let Some(h) = cell.get() {
                tell(&[("group", &r.group), ("operation", operation), ("resource", &r.plural)], h);
            }
        }
    }
}

fn each(of: &Steps, mut tell: impl FnMut(&[LabelPair<'_>], &Histogram)) {
    for (operation, by_type) in OPERATIONS.iter().zip(of) {
        for (kind, by_outcome) in TYPES.iter().zip(by_type) {
            for (rejected, cell) in REJECTED.iter().zip(by_outcome) {
                if let Some(h) = cell.get() {
                    tell(&[("operation", operation), ("rejected", rejected), ("type", kind)], h);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_bounded() {
        let counts = Counts::new(std::iter::empty());
        for i in 0..SERIES + 10 {
            counts.named(&i.to_string(), "x", "y").wrote("create", true, Duration::from_millis(1));
        }
        let others = counts.named(OTHERS, "", "");
        assert_eq!((counts.resources.sorted().len(), others.events.load(Ordering::Relaxed)), (SERIES + 1, 10));
    }

    #[test]
    fn what_was_counted_is_shown_under_its_labels() {
        let (counts, mut out) = (Counts::new(["LimitRanger", "ResourceQuota"].into_iter()), Exposition::default());
        let took = Duration::from_millis(1);
        counts.plugin(1, Step::of(Verb::Create, false, true), true, took);
        counts.step(Step::of(Verb::Patch, false, false), false, took);
        counts.decided(&Decision::Allow, took);
        counts.named("deployments.apps", "apps", "deployments").wrote("create", true, took);
        counts.write(&mut out);
        let text = out.text();
        for line in [
            r#"apiserver_admission_controller_admission_duration_seconds_count{name="ResourceQuota",operation="CREATE",rejected="true",type="validate"} 1"#,
            r#"apiserver_admission_step_admission_duration_seconds_bucket{operation="UPDATE",rejected="false",type="admit",le="0.005"} 1"#,
            r#"authorization_attempts_total{result="allowed"} 1"#,
            r#"etcd_requests_total{group="apps",operation="create",resource="deployments"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("LimitRanger"));
    }
}
