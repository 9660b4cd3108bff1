//! What calls to the server in this process came to, under the names of client-go's metrics. Their host is called `local`.
use crate::{Answer, Verb};
use skiff_meta::Status;
use skiff_telemetry::metrics::{Exposition, Histogram};
use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const HOST: &str = "local";
const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
const SIZES: &[f64] = &[64.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// The last one stands for all others.
const CODES: [u16; 16] = [200, 201, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 503, 504, 500];

struct OfMethod {
    codes: [AtomicU64; CODES.len()],
    took: Histogram,
    sent: Histogram,
}

static CALLS: LazyLock<[OfMethod; METHODS.len()]> =
    LazyLock::new(|| std::array::from_fn(|_| OfMethod { codes: Default::default(), took: Histogram::new(SECONDS), sent: Histogram::new(SIZES) }));

fn method(verb: Verb) -> usize {
    match verb {
        Verb::Get | Verb::List | Verb::Watch => 0,
        Verb::Create => 1,
        Verb::Update => 2,
        Verb::Patch => 3,
        Verb::Delete | Verb::DeleteCollection => 4,
    }
}

pub(crate) fn called(verb: Verb, sent: usize, answer: &Result<Answer, Status>, took: Duration) {
    let code = match answer {
        Ok(_) if verb == Verb::Create => 201,
        Ok(_) => 200,
        Err(s) => s.code,
    };
    let Some(of) = CALLS.get(method(verb)) else { return };
    let at = CODES.iter().position(|c| *c == code).unwrap_or(CODES.len() - 1);
    if let Some(n) = of.codes.get(at) {
        n.fetch_add(1, Ordering::Relaxed);
    }
    of.took.observe(took.as_secs_f64());
    if verb.writes() {
        of.sent.observe(sent as f64);
    }
}

/// Calls of components in this process.
pub fn metrics(out: &mut Exposition) {
    let name = "rest_client_requests_total";
    out.family(name, "counter", "Calls of components by what they came to");
    for (method, of) in METHODS.iter().zip(&*CALLS) {
        for (code, n) in CODES.iter().zip(&of.codes).map(|(c, n)| (c, n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0) {
            out.sample(name, &[("code", &code.to_string()), ("host", HOST), ("method", method)], n);
        }
    }
    for (name, help, pick) in [
        ("rest_client_request_duration_seconds", "Time of calls", (|of| &of.took) as fn(&OfMethod) -> &Histogram),
        ("rest_client_request_size_bytes", "Bytes of what calls send", |of| &of.sent),
    ] {
        out.family(name, "histogram", help);
        for (method, of) in METHODS.iter().zip(&*CALLS).filter(|(_, of)| pick(of).count() > 0) {
            out.histogram(name, &[("host", HOST), ("verb", method)], pick(of));
        }
    }
}
