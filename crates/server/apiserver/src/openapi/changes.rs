//! When documents changed last, for `Last-Modified`: seen when they are asked for, as upstream's are made.
use parking_lot::Mutex;
use skiff_meta::Timestamp;
use std::collections::HashMap;

/// Definitions come and go: with more documents than this, all is forgotten and seen anew.
const MOST: usize = 4096;

#[derive(Default)]
pub(crate) struct Changes(Mutex<HashMap<String, (String, Timestamp)>>);

impl Changes {
    /// Since when the document has this tag.
    pub fn of(&self, document: &str, tag: &str, now: Timestamp) -> Timestamp {
        let mut all = self.0.lock();
        match all.get(document) {
            Some((seen, since)) if seen == tag => *since,
            _ => {
                if all.len() >= MOST {
                    all.clear();
                }
                all.insert(document.to_owned(), (tag.to_owned(), now));
                now
            }
        }
    }
}

/// A time as headers have it.
pub(crate) fn header_date(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.0).map(|t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).unwrap_or_default()
}

/// The time that a header tells, whole seconds.
pub(crate) fn of_header(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|t| Timestamp(t.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_time_until_it_changes() {
        let (changes, at) = (Changes::default(), |s: i64| Timestamp(s));
        assert_eq!(changes.of("v2", "a", at(5)), at(5));
        assert_eq!(changes.of("v2", "a", at(6)), at(5));
        assert_eq!(changes.of("v3", "a", at(7)), at(7));
        assert_eq!(changes.of("v2", "b", at(8)), at(8));
        (0..=MOST).for_each(|i| assert_eq!(changes.of(&i.to_string(), "x", at(9)), at(9)));
        assert!(changes.0.lock().len() <= MOST);
    }

    #[test]
    fn times_of_headers() {
        let text = header_date(Timestamp(1_795_665_142));
        assert_eq!(text, "Thu, 26 Nov 2026 03:52:22 GMT");
        assert_eq!(of_header(&text), Some(Timestamp(1_795_665_142)));
        assert_eq!(of_header("yesterday"), None);
    }
}
