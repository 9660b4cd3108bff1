//! Numbers for Prometheus: histograms that many threads count into, and what `/metrics` shows.
//!
//! A metric lives in the struct that it counts; whoever serves `/metrics` asks each of them to write itself into an
//! [`Exposition`]. There is no registry. Histograms are counted twice, by fixed bounds and by the growing buckets of native
//! histograms, which only the protobuf form can show.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

mod keyed;
mod native;
mod protobuf;
mod text;
mod timing;

pub use keyed::Keyed;
pub use timing::Timing;

use native::Native;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Observations by upper bounds. Bounds are in rising order, without the last, infinite one.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    native: Mutex<Native>,
}

impl Histogram {
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0f64.to_bits()), native: Mutex::default() }
    }
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|b| *b < value);
        if let Some(c) = self.counts.get(at) {
            c.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some((f64::from_bits(bits) + value).to_bits()));
        self.native.lock().observe(value);
    }
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            bounds: self.bounds,
            counts: self.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect(),
            sum: self.sum(),
            native: self.native.lock().clone(),
        }
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug)]
struct Snapshot {
    bounds: &'static [f64],
    /// Between the bounds; one more than these.
    counts: Vec<u64>,
    sum: f64,
    native: Native,
}

impl Snapshot {
    fn with(mut self, other: Self) -> Self {
        self.counts.iter_mut().zip(&other.counts).for_each(|(n, more)| *n += more);
        self.sum += other.sum;
        self.native.add(other.native);
        self
    }
    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
    /// Upper bounds (None: infinite) with the observations up to them.
    fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let mut so_far = 0;
        self.counts.iter().enumerate().map(move |(i, n)| {
            so_far += n;
            (self.bounds.get(i).copied(), so_far)
        })
    }
}

pub type LabelPair<'a> = (&'a str, &'a str);

/// What can be a sample's value.
pub trait Number {
    fn number(&self) -> f64;
}
macro_rules! numbers {
    ($($t:ty)*) => { $(impl Number for $t { fn number(&self) -> f64 { *self as f64 } })* };
}
numbers!(f64 u64 i64 usize u8 i32);
impl<N: Number> Number for &N {
    fn number(&self) -> f64 {
        (*self).number()
    }
}

#[derive(Debug)]
struct Family {
    name: String,
    kind: &'static str,
    help: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<(String, String)>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Histogram(Box<Snapshot>),
}

/// All that `/metrics` shows, family by family.
#[derive(Debug, Default)]
pub struct Exposition(Vec<Family>);

impl Exposition {
    /// Begins a family: `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &'static str, help: &str) {
        self.0.push(Family { name: name.to_owned(), kind, help: help.to_owned(), samples: Vec::new() });
    }
    /// Begins a family, or goes on with it when it was begun before: of several who count the same.
    pub fn join(&mut self, name: &str, kind: &'static str, help: &str) {
        match self.0.iter().position(|f| f.name == name) {
            Some(at) => {
                let family = self.0.remove(at);
                self.0.push(family);
            }
            None => self.family(name, kind, help),
        }
    }
    /// A sample of the family that was begun last, whose name `name` repeats.
    pub fn sample(&mut self, name: &str, labels: &[LabelPair<'_>], value: impl Number) {
        self.push(name, labels, Value::Number(value.number()));
    }
    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &'static str, help: &str, value: impl Number) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
    pub fn histogram(&mut self, name: &str, labels: &[LabelPair<'_>], h: &Histogram) {
        self.push(name, labels, Value::Histogram(Box::new(h.snapshot())));
    }
    /// Several histograms of the same bounds as one.
    pub fn histograms<'h>(&mut self, name: &str, labels: &[LabelPair<'_>], all: impl IntoIterator<Item = &'h Histogram>) {
        let merged = all.into_iter().map(Histogram::snapshot).reduce(Snapshot::with);
        if let Some(s) = merged {
            self.push(name, labels, Value::Histogram(Box::new(s)));
        }
    }
    fn push(&mut self, name: &str, labels: &[LabelPair<'_>], value: Value) {
        debug_assert!(self.0.last().is_some_and(|f| f.name == name), "{name}");
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        if let Some(f) = self.0.last_mut() {
            f.samples.push(Sample { labels, value });
        }
    }
    /// The text form.
    pub fn text(&self) -> String {
        text::write(&self.0)
    }
    /// The protobuf form: delimited `io.prometheus.client.MetricFamily`.
    pub fn protobuf(&self) -> Vec<u8> {
        protobuf::write(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Exposition {
        let (h, mut e) = (Histogram::new(&[0.1, 1.0]), Exposition::default());
        for v in [0.05, 0.1, 0.5, 7.0] {
            h.observe(v);
        }
        e.family("x_seconds", "histogram", "Help.");
        e.histogram("x_seconds", &[("a", "say \"b\"\\\n")], &h);
        e.single("y", "gauge", "Other.", 3u64);
        e
    }

    #[test]
    fn text_form() {
        let l = "a=\"say \\\"b\\\"\\\\\\n\"";
        assert_eq!(
            example().text(),
            format!(
                "# HELP x_seconds Help.\n# TYPE x_seconds histogram\nx_seconds_bucket{{{l},le=\"0.1\"}} 2\nx_seconds_bucket{{{l},le=\"1\"}} 3\nx_seconds_bucket{{{l},le=\"+Inf\"}} 4\nx_seconds_sum{{{l}}} 7.65\nx_seconds_count{{{l}}} 4\n# HELP y Other.\n# TYPE y gauge\ny 3\n"
            )
        );
    }

    /// The wire form of the gauge's family, spelt out; the histogram's begins with its length and name.
    #[test]
    fn protobuf_form() {
        let bytes = example().protobuf();
        let gauge = [&[0x0a, 1, b'y', 0x12, 6][..], b"Other.", &[0x18, 1, 0x22, 11, 0x12, 9, 0x09], &3f64.to_le_bytes()].concat();
        assert!(bytes.ends_with(&[&[gauge.len() as u8][..], &gauge].concat()), "{bytes:x?}");
        let at = bytes.windows(9).position(|w| w == b"x_seconds").unwrap();
        assert!(at <= 4 && bytes[at - 2..at] == [0x0a, 9]);
    }
}
