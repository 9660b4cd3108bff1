//! Events in the form of `events.k8s.io`, as upstream's scheduler writes them: what was done stands beside why, and a
//! repetition begins a series, whose count is written when it ends and every half hour until then.
use super::{EventType, Regarding, correlator::Memory, name};
use k8s_openapi::{
    api::events::v1::{Event, EventSeries},
    apimachinery::pkg::apis::meta::v1::{MicroTime as ApiMicroTime, ObjectMeta},
    jiff,
};
use skiff_json::{Value, json};
use skiff_meta::MicroTime;
use std::{sync::Arc, time::Duration};

/// Counts are looked at no more often.
const LOOK: Duration = Duration::from_secs(60);
/// Bytes of a note at the most (validation of events.k8s.io).
const NOTE: usize = 1024;
const CUT: &str = " ...";
/// A series ends when nothing was seen for so long.
pub(super) const FINISH: Duration = Duration::from_secs(6 * 60);
const REFRESH: Duration = Duration::from_secs(30 * 60);

/// What somebody did, or tried to do.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Deed {
    pub component: Arc<str>,
    pub host: Arc<str>,
    pub about: Regarding,
    pub related: Option<Regarding>,
    pub kind: EventType,
    pub reason: String,
    pub action: &'static str,
}

/// The object to create; with a patch, the object to patch, and to create when it is gone.
#[derive(Clone)]
pub(super) struct Write {
    pub event: Event,
    pub patch: Option<Value>,
}

struct Seen {
    event: Event,
    count: i32,
    last: MicroTime,
    written: MicroTime,
}

impl Seen {
    fn write(&mut self, now: MicroTime) -> Write {
        self.written = now;
        self.event.series = micro(self.last).map(|last_observed_time| EventSeries { count: self.count, last_observed_time });
        let last = self.last.to_string();
        Write { event: self.event.clone(), patch: Some(json!({"series": {"count": self.count, "lastObservedTime": last}})) }
    }
}

/// The memory of series; the time is handed in.
#[derive(Default)]
pub(super) struct Series {
    seen: Memory<Deed, Seen>,
    made: i64,
    /// None: not yet.
    looked: Option<MicroTime>,
}

impl Series {
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// What is to be written now: the first of its kind, and the second, which makes it a series.
    pub fn take(&mut self, deed: &Deed, note: &str, now: MicroTime) -> Option<Write> {
        self.made += 1;
        let nanos = now.0 * 1000 + self.made % 1000;
        let seen = self.seen.entry(deed.clone(), now, || Seen { event: event(deed, note, nanos, now), count: 0, last: now, written: now });
        seen.count += 1;
        seen.last = now;
        match seen.count {
            1 => Some(Write { event: seen.event.clone(), patch: None }),
            2 => Some(seen.write(now)),
            _ => None,
        }
    }

    /// Counts that are to be written: of series that ended, which are forgotten, and of those that go on for long.
    pub fn due(&mut self, now: MicroTime) -> Vec<Write> {
        let mut due = Vec::new();
        if self.looked.is_some_and(|last| since(last, now) < LOOK) {
            return due;
        }
        self.looked = Some(now);
        self.seen.retain(|seen| {
            let ended = since(seen.last, now) > FINISH;
            if seen.count > 1 && (ended || since(seen.written, now) > REFRESH) {
                due.push(seen.write(now));
            }
            !ended
        });
        due
    }
}

/// A longer note would be refused: it is cut where upstream's scheduler cuts it.
fn shortened(note: &str) -> String {
    if note.len() <= NOTE {
        return note.to_owned();
    }
    note[..note.floor_char_boundary(NOTE - CUT.len())].to_owned() + CUT
}

fn since(then: MicroTime, now: MicroTime) -> Duration {
    Duration::from_micros(u64::try_from(now.0 - then.0).unwrap_or(0))
}
fn micro(t: MicroTime) -> Option<ApiMicroTime> {
    jiff::Timestamp::from_microsecond(t.0).ok().map(ApiMicroTime)
}

fn event(deed: &Deed, note: &str, nanos: i64, now: MicroTime) -> Event {
    let namespace = if deed.about.namespace.is_empty() { "default" } else { &deed.about.namespace };
    Event {
        metadata: ObjectMeta { name: Some(name(&deed.about.name, nanos)), namespace: Some(namespace.into()), ..Default::default() },
        event_time: micro(now),
        reporting_controller: Some(deed.component.to_string()),
        reporting_instance: Some(format!("{}-{}", deed.component, deed.host)),
        action: Some(deed.action.into()),
        reason: Some(deed.reason.clone()),
        regarding: Some(deed.about.reference()),
        related: deed.related.as_ref().map(Regarding::reference),
        note: Some(shortened(note)),
        type_: Some(deed.kind.as_str().into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(name: &str) -> Deed {
        let about = Regarding { kind: "Pod".into(), namespace: "n".into(), name: name.into(), ..Default::default() };
        Deed { component: "test".into(), host: "h".into(), about, related: None, kind: EventType::Warning, reason: "Failed".into(), action: "Trying" }
    }
    fn at(s: i64) -> MicroTime {
        MicroTime(s * 1_000_000)
    }

    #[test]
    fn notes_and_names_have_their_limits() {
        let event = event(&deed("a"), &"ä".repeat(800), 255, at(1));
        assert_eq!(event.note.as_deref(), Some(format!("{} ...", "ä".repeat(510)).as_str()));
        assert_eq!(event.metadata.name.as_deref(), Some("a.ff"));
        let long = super::event(&deed(&"a".repeat(253)), "x", 255, at(1)).metadata.name.unwrap();
        assert_eq!((long.len(), long.matches('-').count()), (36, 4), "{long}");
        assert_eq!(super::event(&deed("a"), "x", 255, at(1)).note.as_deref(), Some("x"));
    }

    #[test]
    fn the_form_is_that_of_the_group() {
        let first = Series::default().take(&deed("a"), "x", at(1)).unwrap();
        let v = skiff_json::to_value(&first.event).unwrap();
        assert_eq!(
            (&v["reportingController"], &v["reportingInstance"], &v["action"], &v["note"]),
            (&json!("test"), &json!("test-h"), &json!("Trying"), &json!("x"))
        );
        assert!(first.patch.is_none() && v["eventTime"].is_string() && v.get("deprecatedSource").is_none() && v.get("deprecatedCount").is_none());
    }

    #[test]
    fn a_repetition_makes_a_series() {
        let mut s = Series::default();
        let first = s.take(&deed("a"), "x", at(1)).unwrap();
        // What is noted does not matter: one series.
        let second = s.take(&deed("a"), "y", at(2)).unwrap();
        assert_eq!(second.event.metadata.name, first.event.metadata.name);
        assert_eq!(second.patch.unwrap(), json!({"series": {"count": 2, "lastObservedTime": "1970-01-01T00:00:02.000000Z"}}));
        assert!(s.take(&deed("a"), "x", at(3)).is_none() && s.take(&deed("b"), "x", at(3)).is_some());
        assert_eq!(s.due(at(100)).len(), 0);
        let ended = s.due(at(364));
        assert_eq!(ended.iter().map(|w| w.patch.clone().unwrap()["series"]["count"].clone()).collect::<Vec<_>>(), [json!(3)]);
        assert!(s.is_empty());
    }

    #[test]
    fn a_long_series_is_told_of_between() {
        let mut s = Series::default();
        let written = (0..40)
            .filter(|i| {
                let now = at(i * 60);
                (s.take(&deed("a"), "x", now).is_some() || !s.due(now).is_empty()) && *i > 1
            })
            .count();
        assert_eq!(written, 1);
    }
}
