//! `kill -9` at random instants under 64 writers: what was acknowledged is there, the revision never goes back.
//!
//! The child is this test binary again. It tells each acknowledged write through a pipe; the parent kills it after a
//! random number of them, opens the folder and compares. SKIFF_CRASH_ROUNDS sets the number of rounds (20).
use skiff_meta::Revision;
use skiff_sqlite::{Config, Sqlite};
use skiff_store::{Expect, Store, Tier, suite};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

const DIR: &str = "SKIFF_CRASH_DIR";
const WRITERS: usize = 64;

/// A number nobody can foresee; which one does not matter to the verdict.
fn random(below: usize) -> usize {
    RandomState::new().hash_one(0) as usize % below
}

#[test]
fn writer_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        // A small log, so that it goes into the database often.
        let store = Arc::new(Sqlite::open(Config { journal_bytes: 64 << 10, ..Config::new(dir) }, suite::indexer()).unwrap());
        let writers: Vec<_> = (0..WRITERS).map(|w| tokio::spawn(write_for_ever(store.clone(), w))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write_for_ever(store: Arc<Sqlite>, writer: usize) {
    for step in 0.. {
        let (key, tier) = match step % 8 {
            7 => (format!("leases/w{writer}/l"), Tier::Volatile),
            n => (format!("{}/w{writer}/{n}", ["pods", "secrets"][n % 2]), Tier::Durable),
        };
        let current = store.get(&key);
        let expect = current.as_ref().map_or(Expect::Absent, |e| Expect::At(e.revision));
        let value = format!("{step}{}", "x".repeat(random(2000)));
        let gone = current.is_some() && tier == Tier::Durable && random(10) == 0;
        let done = store.commit(suite::write(&key, expect, (!gone).then_some(&value), tier)).await.unwrap();
        let line = format!("ack {key} {} {}\n", done.revision, if gone { "-" } else { &value });
        let mut out = std::io::stdout().lock();
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// Lets a child write until `kill_after` acknowledgements; returns all that it told.
fn round(dir: &std::path::Path, kill_after: usize) -> Vec<(String, Revision, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writer_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        // The kill may cut the last line inside its value: values are compared by what was told of them.
        let parts: Vec<_> = line.split(' ').collect();
        if let Some(i) = parts.iter().position(|p| *p == "ack").filter(|i| parts.len() == i + 4) {
            told.push((parts[i + 1].to_owned(), parts[i + 2].parse().unwrap(), parts[i + 3].to_owned()));
        }
        if told.len() == kill_after {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "the child was killed, not done");
    told
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    if std::env::var(DIR).is_ok() {
        return;
    }
    let rounds = std::env::var("SKIFF_CRASH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut acknowledged: HashMap<String, (Revision, String)> = HashMap::new();
    let mut highest = Revision::ZERO;
    for n in 0..rounds {
        let mut told = round(dir.path(), 1 + random(1500));
        told.sort_by_key(|(_, revision, _)| *revision);
        assert!(told.first().is_none_or(|first| first.1 > highest), "round {n}: revision {} was given out again", told[0].1);
        highest = told.last().map_or(highest, |last| last.1);
        acknowledged.extend(told.into_iter().map(|(key, revision, value)| (key, (revision, value))));
        let store = Sqlite::open(Config::new(dir.path()), suite::indexer()).unwrap();
        assert!(store.revision() >= highest, "round {n}: the store is at {}, {highest} was told", store.revision());
        highest = store.revision();
        for (key, (revision, value)) in acknowledged.iter().filter(|(key, _)| !key.starts_with("leases/")) {
            match store.get(key) {
                Some(entry) if entry.revision == *revision => assert!(entry.row.uid.as_str().starts_with(value.as_str()), "round {n}: {key}"),
                Some(entry) => assert!(entry.revision > *revision, "round {n}: {key} went back to {}", entry.revision),
                None if value == "-" => {}
                // A deletion that was in flight may have happened; it must be behind what was told.
                None => {
                    let query = skiff_store::ListQuery { prefix: key.clone(), ..Default::default() };
                    let then = runtime.block_on(store.list_at(&query, *revision)).unwrap();
                    assert!(then.entries.iter().any(|e| e.revision == *revision), "round {n}: {key} at {revision} is lost");
                }
            }
        }
        runtime.block_on(store.close()).unwrap();
    }
    eprintln!("{rounds} rounds, {} keys, revision {highest}", acknowledged.len());
}
