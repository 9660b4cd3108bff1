//! When a file is tried again, and what of its problems is news. Pure.
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_secs(120);
/// Characters of a line that are kept.
const LONGEST: usize = 1000;

/// What became of a file's content. By default nothing was tried yet.
#[derive(Default)]
pub struct Seen {
    digest: String,
    tries: u32,
    /// Not before; none when all went well.
    again: Option<Instant>,
    told: Vec<String>,
    tried: bool,
}

impl Seen {
    /// Whether to try: new content at once, the same after a failure and a pause that grows.
    pub fn is_due(&self, digest: &str, now: Instant) -> bool {
        !self.tried || self.digest != digest || self.again.is_some_and(|at| at <= now)
    }

    /// Takes down how a try went; answers with the problems that the last one of this content did not have.
    pub fn outcome(&mut self, digest: String, problems: Vec<String>, now: Instant) -> Vec<String> {
        if !self.tried || self.digest != digest {
            *self = Seen { digest, tried: true, ..Seen::default() };
        }
        let pause = FIRST.saturating_mul(1 << self.tries.min(10)).min(LATEST);
        self.again = (!problems.is_empty()).then(|| now + pause);
        self.tries = if problems.is_empty() { 0 } else { self.tries.saturating_add(1) };
        let news = problems.iter().filter(|p| !self.told.contains(p)).cloned().collect();
        self.told = problems;
        news
    }
}

/// A text of several lines on one, cut where it gets too long.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_is_told_once_and_tried_less_and_less() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let bad = || vec!["apply Pod a: no".to_owned()];
        assert!(seen.is_due("1", start));
        assert_eq!(seen.outcome("1".into(), bad(), start), bad());
        assert!(!seen.is_due("1", start + Duration::from_secs(1)));
        assert!(seen.is_due("1", start + FIRST));
        assert!(seen.outcome("1".into(), bad(), start + FIRST).is_empty(), "it is known");
        assert!(!seen.is_due("1", start + FIRST * 2));
        assert!(seen.is_due("1", start + FIRST * 3));
        assert!(seen.is_due("2", start + FIRST), "somebody changed the file");
        assert_eq!(seen.outcome("2".into(), bad(), start), bad(), "another content: told anew");
        assert!(seen.outcome("2".into(), Vec::new(), start).is_empty());
        assert!(!seen.is_due("2", start + LATEST * 9), "all went well");
    }

    #[test]
    fn lines_are_joined_and_cut() {
        assert_eq!(one_line("bad\n  --> line 2\n\n   | a: [\n"), "bad --> line 2 | a: [");
        assert_eq!(one_line(&"x".repeat(2000)).chars().count(), LONGEST + 1);
    }
}
