//! What the registry counts about itself, under upstream's names: admission by plug-in and by step, authorisation, and what
//! the store was asked to write (upstream's store is etcd, and so are the names).
use parking_lot::RwLock;
use skiff_policy::Decision;
use skiff_request::Verb;
use skiff_telemetry::metrics::{Exposition, Histogram, LabelPair};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
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
    /// By group, resource and operation.
    writes: RwLock<BTreeMap<(String, String, &'static str), Arc<Histogram>>>,
}

fn observe(of: &Steps, step: Step, rejected: bool, took: Duration) {
    let cell = of.get(step.operation).map(|o| &o[usize::from(step.validates)][usize::from(rejected)]);
    if let Some(cell) = cell {
        cell.get_or_init(|| Histogram::new(PLUGIN)).observe(took.as_secs_f64());
    }
}

/// Definitions come and go: past so many series of writes the others are counted together.
const SERIES: usize = 4096;
const OTHERS: &str = "others";

impl Counts {
    pub fn new(plugins: impl Iterator<Item = &'static str>) -> Self {
        let authorizations = std::array::from_fn(|_| Histogram::new(AUTHORIZATION));
        Self { plugins: plugins.map(|name| (name, Steps::default())).collect(), steps: Steps::default(), authorizations, writes: RwLock::default() }
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

    pub fn wrote(&self, group: &str, resource: &str, operation: &'static str, took: Duration) {
        let key = (group.to_owned(), resource.to_owned(), operation);
        let known = self.writes.read().get(&key).cloned();
        let h = known.unwrap_or_else(|| {
            let mut writes = self.writes.write();
            let key = if writes.len() < SERIES { key } else { (String::new(), OTHERS.to_owned(), operation) };
            writes.entry(key).or_insert_with(|| Arc::new(Histogram::new(STORE))).clone()
        });
        h.observe(took.as_secs_f64());
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
        let all = self.writes.read().clone();
        let name = "etcd_requests_total";
        out.family(name, "counter", "Writes that the store was asked for");
        all.iter().for_each(|((group, resource, operation), h)| out.sample(name, &[("group", group), ("operation", operation), ("resource", resource)], h.count()));
        let name = "etcd_request_duration_seconds";
        out.family(name, "histogram", "Time until a write was durable");
        all.iter().for_each(|((group, resource, operation), h)| out.histogram(name, &[("group", group), ("operation", operation), ("resource", resource)], h));
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
    fn series_of_writes_are_bounded() {
        let counts = Counts::new(std::iter::empty());
        for i in 0..SERIES + 10 {
            counts.wrote("x", &i.to_string(), "create", Duration::from_millis(1));
        }
        let writes = counts.writes.read();
        assert_eq!(writes.len(), SERIES + 1);
        assert_eq!(writes[&(String::new(), OTHERS.to_owned(), "create")].count(), 10);
    }

    #[test]
    fn what_was_counted_is_shown_under_its_labels() {
        let (counts, mut out) = (Counts::new(["LimitRanger", "ResourceQuota"].into_iter()), Exposition::default());
        let took = Duration::from_millis(1);
        counts.plugin(1, Step::of(Verb::Create, false, true), true, took);
        counts.step(Step::of(Verb::Patch, false, false), false, took);
        counts.decided(&Decision::Allow, took);
        counts.wrote("apps", "deployments", "create", took);
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
