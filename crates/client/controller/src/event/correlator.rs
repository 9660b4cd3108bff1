//! What becomes of an event: a new object, a count on an earlier one, or nothing.
use super::{EventType, Regarding};
use k8s_openapi::{
    api::core::v1::{Event, EventSource},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff,
};
use skiff_json::{Value, json};
use skiff_meta::{MicroTime, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

/// Entries of each memory.
const MOST: usize = 4096;
/// More than so many that differ only in their message, within so many seconds, are combined.
const ALIKE: usize = 10;
const ALIKE_SECONDS: f64 = 600.0;
/// One source may tell so many about one object at once, and one more every so many seconds.
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;

#[derive(Clone)]
pub(super) struct Told {
    pub component: Arc<str>,
    pub host: Arc<str>,
    pub about: Regarding,
    pub kind: EventType,
    pub reason: String,
    pub message: String,
}

/// The object to create; with a patch, the object to patch, and to create when it is gone.
pub(super) struct Write {
    pub event: Event,
    pub patch: Option<Value>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Alike {
    component: Arc<str>,
    host: Arc<str>,
    about: Regarding,
    kind: EventType,
    reason: String,
}

struct Seen {
    name: String,
    count: i32,
    first: MicroTime,
}

/// The memory behind a recorder; the time is handed in.
#[derive(Default)]
pub struct Correlator {
    seen: Memory<(Alike, String), Seen>,
    alike: Memory<Alike, HashSet<String>>,
    /// Tokens left, by source and object.
    allowed: Memory<(Arc<str>, Regarding), f64>,
    made: i64,
}

impl Correlator {
    pub(super) fn take(&mut self, told: &Told, now: MicroTime) -> Option<Write> {
        let about = Regarding { resource_version: String::new(), ..told.about.clone() };
        let alike = Alike { component: told.component.clone(), host: told.host.clone(), about, kind: told.kind, reason: told.reason.clone() };
        let (key, message) = self.combine(alike.clone(), &told.message, now);
        if !self.allow((told.component.clone(), Regarding { field_path: String::new(), ..alike.about.clone() }), now) {
            return None;
        }
        self.made += 1;
        let nanos = now.0 * 1000 + self.made % 1000;
        let seen = self.seen.entry((alike, key), now, || Seen { name: super::name(&told.about.name, nanos), count: 0, first: now });
        seen.count += 1;
        let event = event(told, &message, seen, now);
        let patch = (seen.count > 1).then(|| json!({"count": seen.count, "message": message, "lastTimestamp": seconds(now).to_string()}));
        Some(Write { event, patch })
    }
    /// The key that repetitions share, and the message to show.
    fn combine(&mut self, alike: Alike, message: &str, now: MicroTime) -> (String, String) {
        if self.alike.age(&alike, now).is_some_and(|a| a > ALIKE_SECONDS) {
            self.alike.remove(&alike);
        }
        let messages = self.alike.entry(alike, now, HashSet::new);
        if messages.len() < ALIKE || messages.contains(message) {
            messages.insert(message.to_owned());
        } else {
            return (String::new(), format!("(combined from similar events): {message}"));
        }
        (message.to_owned(), message.to_owned())
    }
    fn allow(&mut self, key: (Arc<str>, Regarding), now: MicroTime) -> bool {
        let age = self.allowed.age(&key, now).unwrap_or(0.0);
        let tokens = self.allowed.entry(key, now, || BURST);
        *tokens = (*tokens + age / REFILL_SECONDS).min(BURST);
        let ok = *tokens >= 1.0;
        *tokens -= if ok { 1.0 } else { 0.0 };
        ok
    }
}

fn seconds(t: MicroTime) -> Timestamp {
    Timestamp(t.0.div_euclid(1_000_000))
}
fn time(t: MicroTime) -> Option<Time> {
    jiff::Timestamp::from_second(seconds(t).0).ok().map(Time)
}

fn event(told: &Told, message: &str, seen: &Seen, now: MicroTime) -> Event {
    let namespace = if told.about.namespace.is_empty() { "default" } else { &told.about.namespace };
    let host = Some(told.host.to_string()).filter(|h| !h.is_empty());
    Event {
        metadata: ObjectMeta { name: Some(seen.name.clone()), namespace: Some(namespace.into()), ..Default::default() },
        involved_object: told.about.reference(),
        reason: Some(told.reason.clone()),
        message: Some(message.into()),
        source: Some(EventSource { component: Some(told.component.to_string()), host: host.clone() }),
        first_timestamp: time(seen.first),
        last_timestamp: time(now),
        count: Some(seen.count),
        type_: Some(told.kind.as_str().into()),
        reporting_component: Some(told.component.to_string()),
        reporting_instance: host,
        ..Default::default()
    }
}

/// A map that forgets what was used longest ago once it is full.
pub(super) struct Memory<K, V>(HashMap<K, (MicroTime, V)>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone, V> Memory<K, V> {
    pub fn entry(&mut self, key: K, now: MicroTime, make: impl FnOnce() -> V) -> &mut V {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            let mut times: Vec<MicroTime> = self.0.values().map(|(t, _)| *t).collect();
            let (_, middle, _) = times.select_nth_unstable(MOST / 2);
            let middle = *middle;
            self.0.retain(|_, (t, _)| *t > middle);
        }
        let slot = self.0.entry(key).or_insert_with(|| (now, make()));
        slot.0 = now;
        &mut slot.1
    }
    /// Seconds since the last use.
    fn age(&self, key: &K, now: MicroTime) -> Option<f64> {
        self.0.get(key).map(|(t, _)| (now.0 - t.0) as f64 / 1e6)
    }
    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn retain(&mut self, mut keeps: impl FnMut(&mut V) -> bool) {
        self.0.retain(|_, (_, v)| keeps(v));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, message: &str) -> Told {
        let about = Regarding { kind: "Pod".into(), namespace: "n".into(), name: name.into(), uid: "u".into(), ..Default::default() };
        Told { component: "test".into(), host: "".into(), about, kind: EventType::Normal, reason: "Made".into(), message: message.into() }
    }
    fn at(s: i64) -> MicroTime {
        MicroTime(s * 1_000_000)
    }

    #[test]
    fn a_repetition_counts_up() {
        let mut c = Correlator::default();
        let first = c.take(&told("a", "x"), at(1)).unwrap();
        assert!(first.patch.is_none());
        let again = c.take(&told("a", "x"), at(61)).unwrap();
        assert_eq!(again.event.metadata.name, first.event.metadata.name);
        assert_eq!(again.patch.unwrap(), json!({"count": 2, "message": "x", "lastTimestamp": "1970-01-01T00:01:01Z"}));
        assert_ne!(c.take(&told("a", "y"), at(61)).unwrap().event.metadata.name, first.event.metadata.name);
    }

    #[test]
    fn many_alike_are_combined() {
        let mut c = Correlator::default();
        let all: Vec<Write> = (0..12).filter_map(|i| c.take(&told("a", &format!("m{i}")), at(i))).collect();
        assert!(all[..11].iter().all(|w| w.patch.is_none()));
        assert_eq!(all[10].event.message.as_deref(), Some("(combined from similar events): m10"));
        assert_eq!(all[11].patch.as_ref().unwrap()["count"], 2);
        let later = c.take(&told("a", "m20"), at(2000)).unwrap();
        assert_eq!(later.event.message.as_deref(), Some("m20"));
    }

    #[test]
    fn one_object_cannot_flood() {
        let mut c = Correlator::default();
        assert_eq!((0..100).filter_map(|_| c.take(&told("a", "x"), at(0))).count(), 25);
        assert!(c.take(&told("b", "x"), at(0)).is_some());
        assert!(c.take(&told("a", "x"), at(299)).is_none());
        assert!(c.take(&told("a", "x"), at(700)).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let mut m = Memory::<u32, ()>::default();
        (0..20_000).for_each(|i| *m.entry(i, at(i64::from(i)), || ()) = ());
        assert!(m.0.len() <= MOST && m.0.contains_key(&19_999));
    }
}
