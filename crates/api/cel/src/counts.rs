//! How long compiling and evaluating took, in this process.
use skiff_telemetry::metrics::{Exposition, Histogram};
use std::sync::LazyLock;

const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

pub(crate) static COMPILED: LazyLock<Histogram> = LazyLock::new(|| Histogram::new(SECONDS));
pub(crate) static EVALUATED: LazyLock<Histogram> = LazyLock::new(|| Histogram::new(SECONDS));

/// What CEL took, for `/metrics`.
pub fn metrics(out: &mut Exposition) {
    for (name, help, h) in [
        ("apiserver_cel_compilation_duration_seconds", "Time of compiling an expression", &COMPILED),
        ("apiserver_cel_evaluation_duration_seconds", "Time of evaluating an expression", &EVALUATED),
    ] {
        out.family(name, "histogram", help);
        out.histogram(name, &[], h);
    }
}
