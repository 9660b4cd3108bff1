//! Annotations of a request's audit record, gathered on its way.
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Each key once: what was said first stays.
#[derive(Debug, Default)]
pub struct Notes(Mutex<BTreeMap<String, String>>);

/// What authorisation decided, and why.
pub const DECISION: &str = "authorization.k8s.io/decision";
pub const REASON: &str = "authorization.k8s.io/reason";

impl Notes {
    pub fn add(&self, key: &str, value: impl Into<String>) {
        let mut all = self.0.lock();
        if !all.contains_key(key) {
            all.insert(key.to_owned(), value.into());
        }
    }
    pub fn extend(&self, more: BTreeMap<String, String>) {
        more.into_iter().for_each(|(k, v)| self.add(&k, v));
    }
    /// An authoriser's word; a refusal stands, whatever was allowed before it.
    pub fn decided(&self, allowed: bool, why: &str) {
        let mut all = self.0.lock();
        if all.get(DECISION).is_some_and(|d| d == "forbid") {
            return;
        }
        all.insert(DECISION.to_owned(), if allowed { "allow" } else { "forbid" }.to_owned());
        all.insert(REASON.to_owned(), why.to_owned());
    }
    pub fn all(&self) -> BTreeMap<String, String> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_first_word_stands_and_refusals_do() {
        let n = Notes::default();
        n.add("a", "1");
        n.extend([("a".to_owned(), "2".to_owned()), ("b".to_owned(), "3".to_owned())].into());
        n.decided(true, "x");
        n.decided(false, "y");
        n.decided(true, "z");
        let want = [("a", "1"), (DECISION, "forbid"), (REASON, "y"), ("b", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(n.all(), want.into());
    }
}
