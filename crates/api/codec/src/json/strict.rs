//! The findings of strict field validation: unknown and duplicate fields, with their paths.

use std::fmt::Write;

/// Upstream stops collecting here.
const MAX_FINDINGS: usize = 100;

/// A path under construction and the findings so far.
#[derive(Default)]
pub struct Strict {
    path: String,
    /// Texts such as `unknown field "spec.foo"`.
    pub findings: Vec<String>,
}

impl Strict {
    /// Steps into a key; hand the result to [`Strict::leave`].
    pub fn enter_key(&mut self, key: &str) -> usize {
        let mark = self.path.len();
        if mark > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        mark
    }

    /// Steps into an index; hand the result to [`Strict::leave`].
    pub fn enter_index(&mut self, index: usize) -> usize {
        let mark = self.path.len();
        let _ = write!(self.path, "[{index}]");
        mark
    }

    pub fn leave(&mut self, mark: usize) {
        self.path.truncate(mark);
    }

    pub fn unknown(&mut self, key: &str) {
        self.finding("unknown field", key);
    }

    pub fn duplicate(&mut self, key: &str) {
        self.finding("duplicate field", key);
    }

    fn finding(&mut self, what: &str, key: &str) {
        if self.findings.len() >= MAX_FINDINGS {
            return;
        }
        let dot = if self.path.is_empty() { "" } else { "." };
        let text = format!("{what} {}", skiff_meta::go::quote(&format!("{}{dot}{key}", self.path)));
        if !self.findings.contains(&text) {
            self.findings.push(text);
        }
    }
}
