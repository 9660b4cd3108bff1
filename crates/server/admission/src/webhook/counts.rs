//! What is counted of webhooks, under upstream's names. Each count stands beside a call over the network.
use super::{Failure, hook::Hook};
use parking_lot::Mutex;
use skiff_policy::Attributes;
use skiff_request::Verb;
use skiff_telemetry::metrics::{Exposition, Histogram};
use std::{collections::BTreeMap, time::Duration};

const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Declarations come and go: past so many series the others are counted under one name.
const SERIES: usize = 2000;
const OTHERS: &str = "others";
/// Larger codes are counted as this one.
const LARGEST_CODE: u16 = 600;

/// Name, operation, and whether it came to a refusal.
type Series = (String, &'static str, bool);

#[derive(Default)]
struct Inside {
    took: BTreeMap<Series, Histogram>,
    requests: BTreeMap<(Series, u16), u64>,
    /// With the kind of error and the code.
    rejected: BTreeMap<(String, &'static str, &'static str, u16), u64>,
    opened: BTreeMap<String, u64>,
}

/// Of one of the two plug-ins.
pub(super) struct Counts {
    kind: &'static str,
    inside: Mutex<Inside>,
}

fn operation(a: &Attributes<'_>) -> &'static str {
    match a.verb {
        _ if a.connect => "CONNECT",
        Verb::Create => "CREATE",
        Verb::Delete | Verb::DeleteCollection => "DELETE",
        _ => "UPDATE",
    }
}

impl Counts {
    /// `kind`: `admit` or `validating`, as upstream calls the two.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, inside: Mutex::default() }
    }

    /// A webhook was asked, and this came of it; None when it agreed.
    pub fn asked(&self, a: &Attributes<'_>, hook: &Hook, failed: Option<&Failure>, took: Duration) {
        let mut inside = self.inside.lock();
        let known = inside.took.len() < SERIES || inside.took.keys().any(|(n, ..)| *n == hook.name);
        let name = if known { hook.name.clone() } else { OTHERS.to_owned() };
        let (operation, opens) = (operation(a), hook.ignores_failure && matches!(failed, Some(Failure::Call(_))));
        let rejected = failed.is_some() && !opens;
        let series = (name.clone(), operation, rejected);
        let code = match failed {
            None => 200,
            Some(Failure::Refused(s)) => s.code.min(LARGEST_CODE),
            Some(Failure::Call(_)) => 500,
        };
        inside.took.entry(series.clone()).or_insert_with(|| Histogram::new(SECONDS)).observe(took.as_secs_f64());
        *inside.requests.entry((series, code)).or_default() += 1;
        match failed {
            Some(Failure::Refused(_)) => *inside.rejected.entry((name, operation, "no_error", code)).or_default() += 1,
            Some(Failure::Call(_)) if opens => *inside.opened.entry(name).or_default() += 1,
            // Upstream shows no code where the webhook gave none.
            Some(Failure::Call(_)) => *inside.rejected.entry((name, operation, "calling_webhook_error", 0)).or_default() += 1,
            None => {}
        }
    }

    fn write(&self, name: &str, out: &mut Exposition) {
        let (inside, kind) = (self.inside.lock(), self.kind);
        let word = |rejected: bool| if rejected { "true" } else { "false" };
        match name {
            DURATION => inside
                .took
                .iter()
                .for_each(|((n, op, rejected), h)| out.histogram(name, &[("name", n), ("operation", op), ("rejected", word(*rejected)), ("type", kind)], h)),
            REQUESTS => {
                for (((n, op, rejected), code), count) in &inside.requests {
                    out.sample(name, &[("code", &code.to_string()), ("name", n), ("operation", op), ("rejected", word(*rejected)), ("type", kind)], count);
                }
            }
            REJECTIONS => {
                for ((n, op, error, code), count) in &inside.rejected {
                    out.sample(name, &[("error_type", error), ("name", n), ("operation", op), ("rejection_code", &code.to_string()), ("type", kind)], count);
                }
            }
            _ => inside.opened.iter().for_each(|(n, count)| out.sample(name, &[("name", n), ("type", kind)], count)),
        }
    }
}

const DURATION: &str = "apiserver_admission_webhook_admission_duration_seconds";
const REQUESTS: &str = "apiserver_admission_webhook_request_total";
const REJECTIONS: &str = "apiserver_admission_webhook_rejection_count";
const OPENED: &str = "apiserver_admission_webhook_fail_open_count";
const FAMILIES: [(&str, &str, &str); 4] = [
    (DURATION, "histogram", "Time of each webhook"),
    (REQUESTS, "counter", "Webhooks that were asked"),
    (REJECTIONS, "counter", "Refusals by webhooks, and because of them"),
    (OPENED, "counter", "Failures of webhooks that were ignored"),
];

impl Counts {
    /// Families are begun by whoever is first and shared by both plug-ins.
    pub fn expose(&self, out: &mut Exposition) {
        for (name, kind, help) in FAMILIES {
            out.join(name, kind, help);
            self.write(name, out);
        }
    }
}
