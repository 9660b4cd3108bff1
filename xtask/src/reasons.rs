//! The differences from upstream that are meant to be, as data: `reasons.tsv` in `tests/differ` and in `tests/compare`.
//!
//! A line has three columns: a pattern for the case (`pods/v1: get as Table`, `50-create: k get …`), a pattern for the
//! place (`body.metadata.name`, or the line that differs), and the reason in a sentence. A difference that no line
//! matches is a bug.

use anyhow::{Context, bail};
use regex::Regex;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Reason {
    case: Regex,
    place: Regex,
    text: String,
    /// How many differences it explained.
    used: AtomicUsize,
}

pub struct Reasons(Vec<Reason>);

impl Reasons {
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        Self::parse(&std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?).with_context(|| format!("read {}", file.display()))
    }
    fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
        let reasons = lines.map(|(number, line)| {
            let [case, place, text] = line.split('\t').collect::<Vec<_>>()[..] else { bail!("line {} has not three columns", number + 1) };
            let whole = |pattern: &str| Regex::new(&format!("^(?:{pattern})$")).with_context(|| format!("line {}", number + 1));
            Ok(Reason { case: whole(case)?, place: whole(place)?, text: text.to_owned(), used: AtomicUsize::new(0) })
        });
        Ok(Self(reasons.collect::<anyhow::Result<_>>()?))
    }
    /// How often each reason was used, and its text.
    pub fn report(&self) {
        for r in &self.0 {
            println!("{:>6} differences: {}", r.used.load(Ordering::Relaxed), r.text);
        }
    }
    /// Whether a line explains the difference.
    pub fn explain(&self, case: &str, place: &str) -> bool {
        let found = self.0.iter().find(|r| r.case.is_match(case) && r.place.is_match(place));
        found.map(|r| r.used.fetch_add(1, Ordering::Relaxed)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_line_explains_by_case_and_place() {
        let reasons = Reasons::parse("# comment\npods/v1: .*\tbody\\.a.*\twhy\n").unwrap();
        assert!(reasons.explain("pods/v1: get", "body.a.b"));
        assert!(!reasons.explain("pods/v1: get", "body.b"));
        assert!(!reasons.explain("nodes/v1: get", "body.a"));
        assert!(Reasons::parse("a\tb").is_err());
    }
}
