//! The past of a value as a histogram: each amount counts by the nanoseconds for which it was the value, as upstream's timing
//! histograms do. It has no lock of its own: it is part of what is changed under one.
use super::{Exposition, LabelPair, Native, Snapshot, Value};

#[derive(Clone, Debug)]
pub struct Timing {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
    value: f64,
    /// In seconds of the caller's clock.
    since: f64,
}

impl Timing {
    /// Zero from `at` on, which is in seconds of the caller's clock.
    pub fn new(bounds: &'static [f64], at: f64) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0, value: 0.0, since: at }
    }
    /// From `at` on it is `value`.
    pub fn set(&mut self, value: f64, at: f64) {
        self.pass(at);
        self.value = value;
    }
    fn pass(&mut self, at: f64) {
        let lasted = (at - self.since) * 1e9;
        if lasted < 1.0 {
            return;
        }
        let place = self.bounds.partition_point(|b| *b < self.value);
        if let Some(n) = self.counts.get_mut(place) {
            *n += lasted as u64;
        }
        self.sum += self.value * lasted;
        self.since = at;
    }
    fn snapshot(&self) -> Snapshot {
        Snapshot { bounds: self.bounds, counts: self.counts.clone(), sum: self.sum, native: Native::default() }
    }
}

impl Exposition {
    /// The past of a value until `at`.
    pub fn timing(&mut self, name: &str, labels: &[LabelPair<'_>], t: &Timing, at: f64) {
        let mut until_now = t.clone();
        until_now.pass(at);
        self.push(name, labels, Value::Histogram(Box::new(until_now.snapshot())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn amounts_count_by_how_long_they_lasted() {
        let mut t = Timing::new(&[0.0, 0.5, 1.0], 10.0);
        t.set(0.5, 12.0);
        t.set(0.7, 13.0);
        t.set(2.0, 13.0);
        let mut out = Exposition::default();
        out.family("x", "histogram", "Help.");
        out.timing("x", &[], &t, 14.0);
        let text = out.text();
        for line in ["x_bucket{le=\"0\"} 2e+09", "x_bucket{le=\"0.5\"} 3e+09", "x_bucket{le=\"1\"} 3e+09", "x_bucket{le=\"+Inf\"} 4e+09", "x_sum 2.5e+09"] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
