//! A disk without room: durable writes fail and say so, reads and volatile writes go on, room brings writes back.
//!
//! On a small tmpfs in a mount namespace of the test's own thread, so nothing is left behind. Needs root.
use skiff_meta::Revision;
use skiff_sqlite::{Config, Sqlite};
use skiff_store::{Expect, Store, StoreError, Tier, suite};
use std::ffi::CString;
use std::fs;
use std::path::Path;

/// Mounts `size` bytes at `dir`, visible to this thread and those that it starts.
fn small_disk(dir: &Path, size: &str) -> bool {
    let target = CString::new(dir.to_str().unwrap()).unwrap();
    let options = CString::new(format!("size={size},mode=0700")).unwrap();
    // SAFETY: plain system calls on strings that live through them; the namespace ends with its threads.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()) == 0
            && libc::mount(c"skiff-full".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) == 0
    }
}

async fn create(store: &Sqlite, key: &str, size: usize, tier: Tier) -> Result<Revision, StoreError> {
    store.commit(suite::write(key, Expect::Absent, Some(&"x".repeat(size)), tier)).await.map(|e| e.revision)
}

#[tokio::test(flavor = "current_thread")]
async fn a_full_disk_fails_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    if !small_disk(dir.path(), "24m") {
        eprintln!("skipped: no right to mount a tmpfs");
        return;
    }
    let ballast = dir.path().join("ballast");
    fs::write(&ballast, vec![0; 16 << 20]).unwrap();
    let store = Sqlite::open(Config::new(dir.path()), suite::indexer()).unwrap();
    create(&store, "leases/a/0", 10, Tier::Volatile).await.unwrap();
    let mut kept = Vec::new();
    let error = loop {
        let key = format!("pods/a/{}", kept.len());
        match create(&store, &key, 20_000, Tier::Durable).await {
            Ok(revision) => kept.push((key, revision)),
            Err(error) => break error,
        }
        assert!(kept.len() < 10_000, "the disk never fills");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(kept.len() > 10);
    for n in 0..20 {
        let again = create(&store, "pods/a/more", 40_000, Tier::Durable).await;
        assert!(matches!(again, Err(StoreError::Full { .. })), "{again:?}");
        assert!(store.get("pods/a/more").is_none(), "a failed write is not visible");
        create(&store, &format!("leases/b/{n}"), 10, Tier::Volatile).await.expect("the volatile tier needs no disk");
    }
    assert!(kept.iter().all(|(key, revision)| store.get(key).is_some_and(|e| e.revision == *revision)), "reads go on");
    fs::remove_file(&ballast).unwrap();
    let after = create(&store, "pods/a/after", 20_000, Tier::Durable).await.expect("recovers by itself");
    assert!(kept.iter().all(|(_, revision)| *revision < after));
    store.compact(store.revision()).await.expect("compaction works again");
    store.close().await.unwrap();
    let again = Sqlite::open(Config::new(dir.path()), suite::indexer()).unwrap();
    assert_eq!(again.revision(), after);
    assert!(kept.iter().all(|(key, revision)| again.get(key).is_some_and(|e| e.revision == *revision)));
    assert!(again.get("pods/a/more").is_none() && again.get("leases/b/19").is_some());
}
