//! ListOptions: which combinations are allowed, and what they mean.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
use skiff_meta::{Cause, Revision, Status, go};
use skiff_request::Query;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Exact,
    NotOlderThan,
}

#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// None: not given. Zero: any state will do.
    pub revision: Option<Revision>,
    pub matching: Option<Match>,
    pub limit: usize,
    pub continue_token: String,
    pub send_initial_events: Option<bool>,
    pub bookmarks: bool,
    /// None: the server's choice. Zero: at once, as of a negative number.
    pub timeout_seconds: Option<u64>,
}

/// None when absent. A word that is no number is upstream's 500 of a GET and a watch, and its 400 of a list.
pub fn parse_revision(text: Option<&str>) -> Result<Option<Revision>, Status> {
    match text.unwrap_or_default() {
        "" => Ok(None),
        s => s
            .parse()
            .map(Some)
            .map_err(|_| Status::plain(500, format!("resourceVersion: Invalid value: {s:?}: strconv.ParseUint: parsing {s:?}: {}", go::number_error(s)))),
    }
}

/// How who reads out of the store itself is told of a bad revision.
pub fn no_revision(s: &Status) -> Status {
    Status::bad_request(format!("invalid resource version: {}", s.message))
}

/// Seconds that Go's durations have room for.
const LONGEST: i64 = i64::MAX / 1_000_000_000;

fn cause(field: &str, reason: &str, message: String) -> Cause {
    Cause { reason: reason.into(), message, field: field.into() }
}
fn invalid(causes: Vec<Cause>) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", causes)
}
fn forbidden(field: &str, why: &str) -> Cause {
    cause(field, "FieldValueForbidden", format!("Forbidden: {why}"))
}

impl ListOptions {
    pub fn parse(q: &Query, watch: bool) -> Result<Self, Status> {
        let number = |key: &str| match q.get(key) {
            None | Some("") => Ok(None),
            Some(s) => go::parse_int(s).map(Some).map_err(Status::bad_request),
        };
        let revision = parse_revision(q.get("resourceVersion")).map_err(|s| if watch { s } else { no_revision(&s) })?;
        let given = q.get("resourceVersionMatch").unwrap_or_default();
        let matching = match given {
            "Exact" => Some(Match::Exact),
            "NotOlderThan" => Some(Match::NotOlderThan),
            _ => None,
        };
        let options = Self {
            revision,
            matching,
            limit: number("limit")?.unwrap_or(0).max(0) as usize,
            continue_token: q.get("continue").unwrap_or_default().to_owned(),
            send_initial_events: q.get("sendInitialEvents").map(|_| q.flag("sendInitialEvents")),
            bookmarks: q.flag("allowWatchBookmarks"),
            timeout_seconds: number("timeoutSeconds")?.filter(|n| *n != 0).map(|n| n.clamp(0, LONGEST) as u64),
        };
        let causes = options.errors(given, watch);
        if causes.is_empty() { Ok(options) } else { Err(invalid(causes)) }
    }

    /// Objects a page; 0 is all of them. As upstream, whom any state will do gets the whole list.
    pub fn page_size(&self) -> usize {
        if self.revision == Some(Revision::ZERO) { 0 } else { self.limit }
    }

    fn errors(&self, given: &str, watch: bool) -> Vec<Cause> {
        let mut causes = Vec::new();
        if watch {
            match self.send_initial_events {
                Some(_) if self.matching != Some(Match::NotOlderThan) => {
                    causes.push(forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
                }
                None if !given.is_empty() => {
                    causes.push(forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
                }
                _ => {}
            }
            if !given.is_empty() && self.matching != Some(Match::NotOlderThan) {
                causes.push(cause(
                    "resourceVersionMatch",
                    "FieldValueNotSupported",
                    format!("Unsupported value: {given:?}: supported values: \"NotOlderThan\""),
                ));
            }
            // Without a revision a watch begins with the present state, which asks for NotOlderThan by itself.
            if !self.continue_token.is_empty() && self.revision.is_none() {
                causes.push(forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
            }
            return causes;
        }
        if self.send_initial_events.is_some() {
            causes.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        if given.is_empty() {
            return causes;
        }
        if self.revision.is_none() {
            causes.push(forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if !self.continue_token.is_empty() {
            causes.push(forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
        }
        if self.matching.is_none() {
            causes.push(cause(
                "resourceVersionMatch",
                "FieldValueNotSupported",
                format!("Unsupported value: {given:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""),
            ));
        }
        if self.matching == Some(Match::Exact) && self.revision == Some(Revision::ZERO) {
            causes.push(forbidden("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn parse(pairs: &[(&str, &str)], watch: bool) -> Result<ListOptions, Status> {
        ListOptions::parse(&Query(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()), watch)
    }
    #[test]
    fn times_and_numbers_out_of_range() {
        for (seconds, want) in [("0", None), ("-1", Some(0)), ("7", Some(7)), ("9223372036854775807", Some(9_223_372_036))] {
            assert_eq!(parse(&[("timeoutSeconds", seconds)], true).unwrap().timeout_seconds, want, "{seconds}");
        }
        for (limit, why) in [("99999999999999999999", "value out of range"), ("x", "invalid syntax")] {
            assert!(parse(&[("limit", limit)], false).unwrap_err().message.ends_with(why), "{limit}");
        }
    }
    #[test]
    fn any_state_is_listed_whole() {
        for (pairs, size) in
            [(vec![("limit", "5")], 5), (vec![("limit", "5"), ("resourceVersion", "0")], 0), (vec![("limit", "5"), ("resourceVersion", "7")], 5), (vec![], 0)]
        {
            assert_eq!(parse(&pairs, false).unwrap().page_size(), size, "{pairs:?}");
        }
    }
    #[test]
    fn combinations() {
        let exact = ("resourceVersionMatch", "Exact");
        for (pairs, watch, ok) in [
            (vec![], false, true),
            (vec![exact], false, false),
            (vec![exact, ("resourceVersion", "5")], false, true),
            (vec![exact, ("resourceVersion", "0")], false, false),
            (vec![exact, ("resourceVersion", "5"), ("continue", "x")], false, false),
            (vec![("resourceVersionMatch", "Foo"), ("resourceVersion", "5")], false, false),
            (vec![("sendInitialEvents", "true")], false, false),
            (vec![("sendInitialEvents", "true")], true, false),
            (vec![("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("allowWatchBookmarks", "true")], true, true),
            (vec![("resourceVersion", "abc")], false, false),
        ] {
            assert_eq!(parse(&pairs, watch).is_ok(), ok, "{pairs:?}");
        }
        assert_eq!(parse(&[("resourceVersion", "abc")], true).unwrap_err().code, 500);
    }
}
