//! The tests that every engine must pass.
//!
//! An engine's own test calls [`all`] with a factory of empty stores that were made with [`indexer`] and drop a
//! watcher that left [`QUEUE`] events unread. What only one engine can show (crashes, full disks) it tests itself.
use crate::{Body, Entry, EventKind, Expect, Indexer, ListQuery, Row, Store, StoreError, Tier, Watch, Write};
use bytes::Bytes;
use futures::{StreamExt, future};
use skiff_meta::{Revision, Uid};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// The watch queue that the stores under test are made with.
pub const QUEUE: usize = 256;

type Subject = Arc<dyn Store>;

/// Runs every case, each on a fresh store. Panics name the case by their line.
pub async fn all<F, Made>(make: F)
where
    F: Fn() -> Made,
    Made: Future<Output = Subject>,
{
    for tier in [Tier::Durable, Tier::Volatile] {
        a_key_lives(make().await, tier).await;
        compares_that_fail_say_what_is_there(make().await, tier).await;
        the_past_can_be_listed(make().await, tier).await;
        watches_replay_and_follow(make().await, tier).await;
        compaction_forgets(make().await, tier).await;
    }
    pages_are_cut_in_key_order(make().await).await;
    watches_see_their_prefix_only(make().await).await;
    writers_at_once_lose_nothing(make().await).await;
    a_list_and_its_watch_make_the_whole(make().await).await;
    slow_watchers_are_dropped(make().await).await;
    waiting_ends_with_the_revision(make().await).await;
    a_closed_store_says_so(make().await).await;
}

struct UidIndexer;
impl Indexer for UidIndexer {
    fn row(&self, _key: &str, bytes: &[u8]) -> Row {
        let text = String::from_utf8_lossy(bytes);
        let uid = text.split_once("\"uid\":\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(uid, _)| uid);
        Row { uid: Uid::from(uid), ..Row::default() }
    }
}

/// Reads the uid and nothing else.
pub fn indexer() -> Arc<dyn Indexer> {
    Arc::new(UidIndexer)
}

/// A small object whose `uid` is `value`.
pub fn body(value: &str) -> Body {
    let head = "{\"metadata\":{\"resourceVersion\":\"";
    Body { bytes: Bytes::from(format!("{head}\",\"uid\":\"{value}\"}}}}")), at: head.len() }
}

/// A write of [`body`], or a deletion.
pub fn write(key: &str, expect: Expect, value: Option<&str>, tier: Tier) -> Write {
    Write { key: key.into(), expect, body: value.map(body), tier }
}

async fn put(store: &Subject, key: &str, value: &str) -> Entry {
    put_in(store, key, value, Tier::Durable).await
}
async fn put_in(store: &Subject, key: &str, value: &str, tier: Tier) -> Entry {
    let expect = store.get(key).map_or(Expect::Absent, |e| Expect::At(e.revision));
    store.commit(write(key, expect, Some(value), tier)).await.expect("a write that must work")
}
async fn delete(store: &Subject, key: &str, tier: Tier) -> Entry {
    let at = store.get(key).expect("what is deleted is there").revision;
    store.commit(write(key, Expect::At(at), None, tier)).await.expect("a deletion that must work")
}
fn under(prefix: &str) -> ListQuery {
    ListQuery { prefix: prefix.to_owned(), ..ListQuery::default() }
}
fn values(entries: &[Entry]) -> Vec<(&str, &str)> {
    entries.iter().map(|e| (&*e.key, e.row.uid.as_str())).collect()
}
fn check_stamp(entry: &Entry) {
    let expected = body(entry.row.uid.as_str()).stamped(entry.revision);
    assert_eq!(entry.bytes, expected, "the bytes of {} carry revision {}", entry.key, entry.revision);
    assert!(entry.bytes[entry.at..].starts_with(entry.revision.to_string().as_bytes()));
}
async fn next(watch: &mut Watch) -> (EventKind, String, String, Revision) {
    let event = watch.next().await.expect("the watch goes on").expect("without an error");
    check_stamp(&event.entry);
    (event.kind, event.entry.key.to_string(), event.entry.row.uid.to_string(), event.revision())
}

async fn a_key_lives(store: Subject, tier: Tier) {
    let before = store.revision();
    assert!(store.get("pods/a/x").is_none());
    let made = put_in(&store, "pods/a/x", "one", tier).await;
    assert!(made.revision > before && store.revision() == made.revision);
    check_stamp(&made);
    let read = store.get("pods/a/x").expect("visible once acknowledged");
    assert_eq!((read.revision, &read.bytes), (made.revision, &made.bytes));
    assert_eq!((read.namespace(), read.name()), ("a", "x"));
    let changed = put_in(&store, "pods/a/x", "two", tier).await;
    assert_eq!(changed.revision, made.revision.next());
    check_stamp(&changed);
    let gone = delete(&store, "pods/a/x", tier).await;
    assert_eq!(gone.revision, changed.revision.next());
    check_stamp(&gone);
    assert_eq!(gone.row.uid.as_str(), "two");
    assert!(store.get("pods/a/x").is_none() && store.list(&under("pods/")).entries.is_empty());
    let again = put_in(&store, "pods/a/x", "three", tier).await;
    assert_eq!(again.revision, gone.revision.next());
}

async fn compares_that_fail_say_what_is_there(store: Subject, tier: Tier) {
    let made = put_in(&store, "pods/a/x", "one", tier).await;
    for expect in [Expect::Absent, Expect::At(Revision(made.revision.0 + 7))] {
        for value in [Some("two"), None] {
            match store.commit(write("pods/a/x", expect, value, tier)).await {
                Err(StoreError::Conflict { key, current: Some(current) }) => assert_eq!((&*key, current.revision), ("pods/a/x", made.revision)),
                other => panic!("{expect:?}: {other:?}"),
            }
        }
    }
    for (expect, value) in [(Expect::At(made.revision), Some("two")), (Expect::At(made.revision), None), (Expect::Absent, None)] {
        match store.commit(write("pods/a/absent", expect, value, tier)).await {
            Err(StoreError::Conflict { current: None, .. }) => {}
            other => panic!("{expect:?}: {other:?}"),
        }
    }
    assert_eq!(store.revision(), made.revision, "a failed compare takes no revision");
}

async fn pages_are_cut_in_key_order(store: Subject) {
    for key in ["pods/b/y", "pods/a/z", "pods.metrics/a/x", "podsx/a/x", "pods/a/x", "nodes//n", "pods/b/x"] {
        put(&store, key, key).await;
    }
    let all = ["pods/a/x", "pods/a/z", "pods/b/x", "pods/b/y"];
    let whole = store.list(&under("pods/"));
    assert_eq!(whole.entries.iter().map(|e| &*e.key).collect::<Vec<_>>(), all);
    assert_eq!((whole.more, whole.remaining, whole.revision), (false, 0, store.revision()));
    assert_eq!(store.list(&under("pods/a/")).entries.len(), 2);
    assert_eq!(store.list(&under("")).entries.len(), 7);
    assert!(store.list(&under("services/")).entries.is_empty());
    for limit in 1..=5 {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = store.list(&ListQuery { prefix: "pods/".into(), after: after.clone(), limit });
            seen.extend(page.entries.iter().map(|e| e.key.to_string()));
            assert_eq!(page.remaining, all.len() - seen.len());
            assert_eq!(page.more, page.remaining > 0);
            if !page.more {
                break;
            }
            after = seen.last().cloned();
        }
        assert_eq!(seen, all);
    }
    let behind = store.list(&ListQuery { prefix: "pods/b/".into(), after: Some("pods/a/x".into()), limit: 0 });
    assert_eq!(behind.entries.len(), 2, "an `after` before the prefix changes nothing");
    let removed = store.list(&ListQuery { prefix: "pods/".into(), after: Some("pods/a/y".into()), limit: 1 });
    assert_eq!(values(&removed.entries), [("pods/a/z", "pods/a/z")], "`after` need not be there");
}

async fn the_past_can_be_listed(store: Subject, tier: Tier) {
    let mut snapshots = vec![(store.revision(), Vec::<(String, String)>::new())];
    let keep = |store: &Subject, snapshots: &mut Vec<_>| {
        let page = store.list(&under("leases/"));
        snapshots.push((page.revision, values(&page.entries).iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()));
    };
    for step in 0..24_u32 {
        let key = format!("leases/a/{}", step % 5);
        if step % 7 == 6 && store.get(&key).is_some() {
            delete(&store, &key, tier).await;
        } else {
            put_in(&store, &key, &format!("v{step}"), tier).await;
        }
        put(&store, "other/a/x", &step.to_string()).await;
        keep(&store, &mut snapshots);
    }
    for (revision, expected) in snapshots {
        let page = store.list_at(&under("leases/"), revision).await.expect("history is kept");
        assert_eq!(page.revision, revision);
        let then: Vec<_> = values(&page.entries).iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(then, expected, "at {revision}");
        page.entries.iter().for_each(check_stamp);
        let first = store.list_at(&ListQuery { limit: 1, ..under("leases/") }, revision).await.expect("history is kept");
        assert_eq!(first.remaining, expected.len().saturating_sub(1));
    }
    let ahead = Revision(store.revision().0 + 1);
    assert!(matches!(store.list_at(&under("leases/"), ahead).await, Err(StoreError::Future { asked, .. }) if asked == ahead));
}

async fn watches_replay_and_follow(store: Subject, tier: Tier) {
    let first = put_in(&store, "pods/a/x", "one", tier).await;
    let second = put_in(&store, "pods/a/x", "two", tier).await;
    let mut watch = store.watch("pods/", first.revision).expect("within the ring");
    let third = put_in(&store, "pods/a/y", "three", tier).await;
    let fourth = delete(&store, "pods/a/x", tier).await;
    assert_eq!(next(&mut watch).await, (EventKind::Updated, "pods/a/x".into(), "two".into(), second.revision));
    assert_eq!(next(&mut watch).await, (EventKind::Created, "pods/a/y".into(), "three".into(), third.revision));
    let event = watch.next().await.expect("the watch goes on").expect("without an error");
    assert_eq!((event.kind, event.revision()), (EventKind::Deleted, fourth.revision));
    check_stamp(&event.entry);
    let previous = event.previous.as_ref().expect("a deletion knows what was there");
    assert_eq!((previous.revision, previous.row.uid.as_str()), (second.revision, "two"));
    assert_eq!(event.frame(0, || Bytes::from_static(b"f")), event.frame(0, || unreachable!("encoded once")));
    let ahead = Revision(store.revision().0 + 1);
    assert!(matches!(store.watch("pods/", ahead), Err(StoreError::Future { .. })));
}

async fn watches_see_their_prefix_only(store: Subject) {
    let from = store.revision();
    let expected: [(&str, &[&str]); 6] = [
        ("pods/", &["pods/a/x", "pods/a/xy", "pods/b/x"]),
        ("pods/a/", &["pods/a/x", "pods/a/xy"]),
        ("pods/a/x", &["pods/a/x"]),
        ("nodes/", &["nodes//n"]),
        ("nodes//n", &["nodes//n"]),
        ("", &["pods/a/x", "pods/a/xy", "pods.metrics/a/x", "nodes//n", "pods/b/x", "end//end"]),
    ];
    let mut early: Vec<_> = expected.iter().map(|(prefix, _)| store.watch(prefix, from).expect("present")).collect();
    for key in ["pods/a/x", "pods/a/xy", "pods.metrics/a/x", "nodes//n", "pods/b/x", "end//end"] {
        put(&store, key, key).await;
    }
    let mut late: Vec<_> = expected.iter().map(|(prefix, _)| store.watch(prefix, from).expect("within the ring")).collect();
    for watches in [&mut early, &mut late] {
        for ((prefix, keys), watch) in expected.iter().zip(watches) {
            for key in *keys {
                assert_eq!(next(watch).await.1, *key, "under {prefix:?}");
            }
        }
    }
}

async fn compaction_forgets(store: Subject, tier: Tier) {
    let stays = put_in(&store, "pods/a/stays", "s", tier).await;
    let old = put_in(&store, "pods/a/x", "one", tier).await;
    let middle = put_in(&store, "pods/a/x", "two", tier).await;
    put_in(&store, "pods/a/x", "three", tier).await;
    put_in(&store, "pods/a/gone", "g", tier).await;
    delete(&store, "pods/a/gone", tier).await;
    let ahead = Revision(store.revision().0 + 1);
    assert!(matches!(store.compact(ahead).await, Err(StoreError::Future { .. })));
    store.compact(middle.revision).await.expect("compaction works");
    store.compact(old.revision).await.expect("a step back is no error");
    assert_eq!(store.oldest(), middle.revision);
    let page = store.list_at(&under("pods/"), middle.revision).await.expect("the compacted revision itself is kept");
    assert_eq!(values(&page.entries), [("pods/a/stays", "s"), ("pods/a/x", "two")]);
    match store.list_at(&under("pods/"), old.revision).await {
        Err(StoreError::Compacted { asked, oldest }) => assert_eq!((asked, oldest), (old.revision, middle.revision)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.watch("pods/", old.revision), Err(StoreError::Compacted { .. })));
    let mut watch = store.watch("pods/", middle.revision).expect("from the compacted revision on");
    assert_eq!(next(&mut watch).await.2, "three");
    store.compact(store.revision()).await.expect("compaction works");
    assert_eq!(store.get("pods/a/stays").map(|e| e.revision), Some(stays.revision));
    assert_eq!(values(&store.list(&under("pods/")).entries), [("pods/a/stays", "s"), ("pods/a/x", "three")]);
    let now = store.list_at(&under("pods/"), store.revision()).await.expect("the present is never compacted");
    assert_eq!(now.entries.len(), 2);
}

async fn add_one(store: &Subject, key: &str, tier: Tier) {
    loop {
        let (expect, count) = match store.get(key) {
            Some(e) => (Expect::At(e.revision), e.row.uid.as_str().parse::<u32>().expect("a number")),
            None => (Expect::Absent, 0),
        };
        match store.commit(write(key, expect, Some(&(count + 1).to_string()), tier)).await {
            Ok(_) => return,
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

async fn writers_at_once_lose_nothing(store: Subject) {
    let from = store.revision();
    let writers = (0..16).map(|writer| {
        let store = store.clone();
        async move {
            for _ in 0..10 {
                add_one(&store, "counters/a/shared", Tier::Durable).await;
                add_one(&store, "leases/a/shared", Tier::Volatile).await;
                add_one(&store, &format!("counters/b/{writer}"), Tier::Durable).await;
            }
        }
    });
    future::join_all(writers).await;
    for key in ["counters/a/shared", "leases/a/shared"] {
        assert_eq!(store.get(key).map(|e| e.row.uid.to_string()), Some("160".into()), "{key}");
    }
    assert_eq!(store.list(&under("counters/b/")).entries.len(), 16);
    assert_eq!(store.revision().0, from.0 + 480, "one revision a commit");
}

async fn a_list_and_its_watch_make_the_whole(store: Subject) {
    let from = store.revision();
    let mut watch = store.watch("pods/", from).expect("present");
    let mut model: BTreeMap<String, (String, Revision)> = BTreeMap::new();
    let writes = async {
        for step in 0..QUEUE / 2 {
            let key = format!("pods/a/{}", step % 9);
            if step % 4 == 3 && store.get(&key).is_some() {
                delete(&store, &key, Tier::Durable).await;
            } else {
                put(&store, &key, &step.to_string()).await;
            }
        }
    };
    let reads = async {
        let mut last = from;
        for _ in 0..QUEUE / 2 {
            let (kind, key, value, revision) = next(&mut watch).await;
            assert_eq!(revision, last.next(), "in commit order, without a gap");
            last = revision;
            match kind {
                EventKind::Deleted => assert!(model.remove(&key).is_some(), "{key} was there"),
                EventKind::Created => assert!(model.insert(key, (value, revision)).is_none()),
                EventKind::Updated => assert!(model.insert(key, (value, revision)).is_some()),
            }
        }
    };
    future::join(writes, reads).await;
    let present: BTreeMap<_, _> = store.list(&under("pods/")).entries.into_iter().map(|e| (e.key.to_string(), (e.row.uid.to_string(), e.revision))).collect();
    assert_eq!(model, present);
}

async fn slow_watchers_are_dropped(store: Subject) {
    let from = store.revision();
    let mut slow = store.watch("pods/a/", from).expect("present");
    let mut other = store.watch("pods/b/", from).expect("present");
    for step in 0..=QUEUE {
        put(&store, "pods/a/x", &step.to_string()).await;
    }
    put(&store, "pods/b/x", "b").await;
    match slow.next().await {
        Some(Err(StoreError::Slow { prefix })) => assert_eq!(prefix, "pods/a/"),
        other => panic!("{other:?}"),
    }
    assert!(slow.next().await.is_none());
    assert_eq!(next(&mut other).await.2, "b", "others are not touched");
}

async fn waiting_ends_with_the_revision(store: Subject) {
    let revision = store.revision();
    store.wait_for(revision).await;
    let wait = store.wait_for(Revision(revision.0 + 2));
    let writes = async {
        put(&store, "pods/a/x", "1").await;
        put(&store, "pods/a/x", "2").await;
    };
    future::join(wait, writes).await;
}

async fn a_closed_store_says_so(store: Subject) {
    put(&store, "pods/a/x", "1").await;
    let mut watch = store.watch("pods/", store.revision()).expect("present");
    let before = store.revision();
    store.answers().await.expect("an open store answers");
    assert_eq!(store.revision(), before, "who asks changes nothing");
    store.close().await.expect("closes");
    assert!(matches!(watch.next().await, Some(Err(StoreError::Closed))));
    assert!(watch.next().await.is_none());
    assert!(matches!(store.commit(write("pods/a/y", Expect::Absent, Some("1"), Tier::Durable)).await, Err(StoreError::Closed)));
    assert!(matches!(store.answers().await, Err(StoreError::Closed)));
    assert!(store.get("pods/a/x").is_some(), "reads go on");
}
