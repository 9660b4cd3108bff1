//! Numbers for Prometheus: histograms that many threads count into, and the text form.
//!
//! A metric lives in the struct that it counts; whoever serves `/metrics` asks each of them for its [`Text`]. There is no
//! registry.
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Observations by upper bounds. Bounds are in rising order, without the last, infinite one.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0f64.to_bits()) }
    }
    pub fn observe(&self, value: f64) {
        let at = self.bounds.iter().position(|b| value <= *b).unwrap_or(self.bounds.len());
        if let Some(c) = self.counts.get(at) {
            c.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some((f64::from_bits(bits) + value).to_bits()));
    }
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }
}

pub type LabelPair<'a> = (&'a str, &'a str);

/// Metrics in Prometheus's text form.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family: `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
    pub fn sample(&mut self, name: &str, labels: &[LabelPair<'_>], value: impl Display) {
        self.0 += name;
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }
    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
    pub fn histogram(&mut self, name: &str, labels: &[LabelPair<'_>], h: &Histogram) {
        let mut so_far = 0;
        for (i, count) in h.counts.iter().enumerate() {
            so_far += count.load(Ordering::Relaxed);
            let bound = h.bounds.get(i).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(&bound));
            let _ = writeln!(self.0, " {so_far}");
        }
        for (part, value) in [("sum", h.sum()), ("count", so_far as f64)] {
            let _ = write!(self.0, "{name}_{part}");
            self.labels(labels, None);
            let _ = writeln!(self.0, " {value}");
        }
    }
    fn labels(&mut self, labels: &[LabelPair<'_>], bound: Option<&str>) {
        if labels.is_empty() && bound.is_none() {
            return;
        }
        let all = labels.iter().copied().chain(bound.map(|b| ("le", b)));
        for (i, (name, value)) in all.enumerate() {
            self.0.push(if i == 0 { '{' } else { ',' });
            self.0 += name;
            self.0 += "=\"";
            for c in value.chars() {
                match c {
                    '\\' => self.0 += "\\\\",
                    '"' => self.0 += "\\\"",
                    '\n' => self.0 += "\\n",
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        self.0.push('}');
    }
    /// What another program of this kind wrote.
    pub fn append(&mut self, text: &str) {
        self.0 += text;
    }
    pub fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn text_form() {
        let (h, mut t) = (Histogram::new(&[0.1, 1.0]), Text::default());
        for v in [0.05, 0.1, 0.5, 7.0] {
            h.observe(v);
        }
        t.family("x_seconds", "histogram", "Help.");
        t.histogram("x_seconds", &[("a", "say \"b\"\\\n")], &h);
        t.single("y", "gauge", "Other.", 3);
        let l = "a=\"say \\\"b\\\"\\\\\\n\"";
        assert_eq!(
            t.into_string(),
            format!("# HELP x_seconds Help.\n# TYPE x_seconds histogram\nx_seconds_bucket{{{l},le=\"0.1\"}} 2\nx_seconds_bucket{{{l},le=\"1\"}} 3\nx_seconds_bucket{{{l},le=\"+Inf\"}} 4\nx_seconds_sum{{{l}}} 7.65\nx_seconds_count{{{l}}} 4\n# HELP y Other.\n# TYPE y gauge\ny 3\n")
        );
    }
}
