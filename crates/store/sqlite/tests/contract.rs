//! The suite of the contract, and what a restart keeps.
use skiff_cache::Limits;
use skiff_meta::Revision;
use skiff_seal::{Own, Sealer};
use skiff_sqlite::{Config, OpenError, Sqlite};
use skiff_store::{Expect, ListQuery, Store, StoreError, Tier, suite};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn config(dir: &Path) -> Config {
    let own = Own::open(dir.join("seal.key"), !dir.join("state.db").exists()).unwrap();
    Config { limits: Limits { watcher_queue: suite::QUEUE, ..Limits::default() }, sealing: Arc::new(Sealer::new(own, None)), ..Config::new(dir) }
}
fn open(dir: &Path) -> Sqlite {
    Sqlite::open(config(dir), suite::indexer()).unwrap()
}
fn refused(dir: &Path) -> OpenError {
    Sqlite::open(config(dir), suite::indexer()).err().expect("it must not open")
}
async fn put(store: &Sqlite, key: &str, value: &str, tier: Tier) -> Revision {
    let expect = store.get(key).map_or(Expect::Absent, |e| Expect::At(e.revision));
    store.commit(suite::write(key, expect, Some(value), tier)).await.unwrap().revision
}
async fn delete(store: &Sqlite, key: &str) -> Revision {
    let expect = Expect::At(store.get(key).unwrap().revision);
    store.commit(suite::write(key, expect, None, Tier::Durable)).await.unwrap().revision
}
fn under(prefix: &str) -> ListQuery {
    ListQuery { prefix: prefix.into(), ..ListQuery::default() }
}
fn values(page: &skiff_store::Page) -> Vec<(String, String)> {
    page.entries.iter().map(|e| (e.key.to_string(), e.row.uid.to_string())).collect()
}
fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_passes_the_suite() {
    let root = tempfile::tempdir().unwrap();
    let n = std::sync::atomic::AtomicUsize::new(0);
    suite::all(|| async {
        let dir = root.path().join(n.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string());
        Arc::new(open(&dir)) as Arc<dyn Store>
    })
    .await;
}

/// A ring that holds nothing sends every list of the past, and no watch, to the disk.
#[tokio::test]
async fn history_comes_from_the_disk_when_memory_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { ring_events: 0, ..Limits::default() };
    let store = Sqlite::open(Config { limits, ..config(dir.path()) }, suite::indexer()).unwrap();
    let mut snapshots = Vec::new();
    for step in 0..60_u32 {
        let key = format!("secrets/a/{}", step % 7);
        if step % 5 == 4 && store.get(&key).is_some() {
            delete(&store, &key).await;
        } else {
            put(&store, &key, &format!("v{step}"), Tier::Durable).await;
        }
        let page = store.list(&under("secrets/"));
        snapshots.push((page.revision, values(&page)));
    }
    let check = async |store: &Sqlite, from: usize| {
        for (revision, expected) in &snapshots[from..] {
            assert_eq!(&values(&store.list_at(&under("secrets/"), *revision).await.unwrap()), expected, "at {revision}");
        }
    };
    check(&store, 0).await;
    store.compact(snapshots[20].0).await.unwrap();
    check(&store, 20).await;
    store.close().await.unwrap();
    let again = open(dir.path());
    assert_eq!(again.oldest(), snapshots[20].0);
    check(&again, 20).await;
    again.compact(again.revision()).await.unwrap();
    check(&again, 59).await;
    put(&again, "leases/a/x", "l", Tier::Volatile).await;
    assert!(matches!(again.list_at(&under(""), Revision(again.oldest().0 - 1)).await, Err(StoreError::Compacted { .. })));
}

#[tokio::test]
async fn a_restart_keeps_everything_and_both_tiers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "secrets/a/x", "hunter2", Tier::Durable).await;
    put(&store, "pods/a/gone", "g", Tier::Durable).await;
    delete(&store, "pods/a/gone").await;
    put(&store, "leases/a/x", "one", Tier::Volatile).await;
    put(&store, "leases/a/y", "y", Tier::Volatile).await;
    let last = put(&store, "leases/a/x", "two", Tier::Volatile).await;
    store.close().await.unwrap();
    for name in ["state.db", "seal.key"] {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let on_disk = fs::read(dir.path().join("state.db")).unwrap();
    assert!(!on_disk.windows(7).any(|w| w == b"hunter2"), "secrets are sealed");
    let expected = pairs(&[("leases/a/x", "two"), ("leases/a/y", "y"), ("secrets/a/x", "hunter2")]);
    let again = open(dir.path());
    assert_eq!((again.revision(), values(&again.list(&under("")))), (last, expected.clone()));
    assert!(matches!(again.watch("", Revision(last.0 - 1)), Err(StoreError::Compacted { oldest, .. }) if oldest == last));
    // A key that leaves the volatile tier does not come back from it.
    let x = again.get("leases/a/x").unwrap().revision;
    again.commit(suite::write("leases/a/x", Expect::At(x), None, Tier::Volatile)).await.unwrap();
    put(&again, "leases/a/x", "durable", Tier::Durable).await;
    delete(&again, "leases/a/x").await;
    again.compact(again.revision()).await.unwrap();
    let last = again.revision();
    again.close().await.unwrap();
    let third = open(dir.path());
    assert_eq!((third.revision(), values(&third.list(&under("")))), (last, expected[1..].to_vec()));
}

#[tokio::test]
async fn the_volatile_tier_is_checkpointed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let at_once = Config { volatile_checkpoint: Duration::ZERO, ..config(dir.path()) };
    let store = Sqlite::open(at_once, suite::indexer()).unwrap();
    put(&store, "leases/a/x", "one", Tier::Volatile).await;
    // The checkpoint comes before the next job: when this is answered, the lease is on the disk.
    put(&store, "pods/a/x", "one", Tier::Durable).await;
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let crashed = open(copy.path());
    assert_eq!(values(&crashed.list(&under(""))), pairs(&[("leases/a/x", "one"), ("pods/a/x", "one")]));
    assert!(crashed.revision() >= store.revision());
}

#[tokio::test]
async fn a_torn_log_loses_its_tail_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for i in 0..50 {
        put(&store, &format!("pods/a/{i:02}"), &"x".repeat(3000), Tier::Durable).await;
    }
    let log = fs::read(dir.path().join("state.log")).unwrap();
    for (cut, flip) in [(log.len() - 1, None), (log.len() / 2, None), (40, None), (0, None), (log.len(), Some(log.len() / 2))] {
        let copy = tempfile::tempdir().unwrap();
        for name in ["state.db", "seal.key"] {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        let mut torn = log[..cut].to_vec();
        if let Some(at) = flip {
            torn[at] ^= 0xff;
        }
        fs::write(copy.path().join("state.log"), torn).unwrap();
        let again = match Sqlite::open(config(copy.path()), suite::indexer()) {
            Ok(again) => again,
            Err(e) => panic!("cut at {cut}: {e}"),
        };
        let page = again.list(&under(""));
        let expected: Vec<_> = (0..page.entries.len()).map(|i| format!("pods/a/{i:02}")).collect();
        assert_eq!(page.entries.iter().map(|e| e.key.to_string()).collect::<Vec<_>>(), expected, "a prefix of the writes");
        assert!(page.entries.len() < 50);
        put(&again, "pods/b/new", "n", Tier::Durable).await;
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("state.db");
    let store = open(dir.path());
    for i in 0..200 {
        put(&store, &format!("pods/a/{i}"), &"x".repeat(500), Tier::Durable).await;
    }
    assert!(matches!(refused(dir.path()), OpenError::InUse { .. }));
    store.close().await.unwrap();
    let good = fs::read(&db).unwrap();
    let named = |error: OpenError| assert!(error.to_string().contains("state.db"), "{error}");

    let mut bad = good.clone();
    bad[4096 * 10..4096 * 12].fill(0x5a);
    fs::write(&db, &bad).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    named(error);
    fs::write(&db, b"this is not a database, and longer than a header ".repeat(100)).unwrap();
    named(refused(dir.path()));
    fs::write(&db, &good[..good.len() / 2]).unwrap();
    named(refused(dir.path()));

    fs::write(&db, &good).unwrap();
    // The version is the big-endian word at offset 60 of the header.
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&db, &newer).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
    named(error);
}

#[tokio::test]
async fn a_folder_belongs_to_who_opened_it_first() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().await.unwrap();
    // It has written nothing since.
    let first = open(dir.path());
    assert!(matches!(refused(dir.path()), OpenError::InUse { .. }));
    first.close().await.unwrap();
    open(dir.path()).close().await.unwrap();
}

/// The folder of a build before there was a log of commits.
#[tokio::test]
async fn a_folder_of_layout_1_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    old.execute_batch(
        "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
         CREATE TABLE history (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, at INTEGER NOT NULL, flags INTEGER NOT NULL, value BLOB);
         CREATE TABLE volatile (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, at INTEGER NOT NULL, flags INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 0), reserved INTEGER NOT NULL, compacted INTEGER NOT NULL);
         INSERT INTO state VALUES (0, 100, 3);
         INSERT INTO history VALUES (7, 'pods/a/x', 1, 0, x'223722'), (8, 'pods/a/y', 1, 0, x'223822'), (9, 'pods/a/y', 0, 1, NULL);
         INSERT INTO volatile VALUES ('leases/a/l', 10, 1, 0, x'22313022');
         PRAGMA application_id = 1399548262;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    old.close().unwrap();
    for round in 0..3 {
        let store = Sqlite::open(Config::new(dir.path()), suite::indexer()).unwrap();
        assert!(store.revision().0 >= 100, "the counter goes on");
        assert_eq!(store.oldest().0, 3);
        let keys: Vec<_> = store.list(&under("")).entries.iter().map(|e| e.key.to_string()).collect();
        let more: Vec<_> = (0..round).map(|i| format!("pods/b/{i}")).collect();
        assert_eq!(keys, [vec!["leases/a/l".to_owned(), "pods/a/x".to_owned()], more].concat());
        put(&store, &format!("pods/b/{round}"), "new", Tier::Durable).await;
        store.close().await.unwrap();
    }
}
