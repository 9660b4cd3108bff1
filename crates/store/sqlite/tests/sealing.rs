//! Sealing through the whole engine: what lies on the disk, changes of settings while it runs, lost and wrong keys.
use skiff_meta::Revision;
use skiff_seal::{Configured, Own, Sealer};
use skiff_sqlite::{Config, OpenError, Sqlite};
use skiff_store::{Expect, ListQuery, SealError, Store, StoreError, Tier, suite};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn sealer(dir: &Path) -> Arc<Sealer> {
    Arc::new(Sealer::new(Own::open(dir.join("seal.key"), !dir.join("state.db").exists()).unwrap(), None))
}
fn open(dir: &Path, sealing: &Arc<Sealer>) -> Result<Sqlite, OpenError> {
    Sqlite::open(Config { sealing: sealing.clone(), ..Config::new(dir) }, suite::indexer())
}
async fn put(store: &Sqlite, key: &str, value: &str, tier: Tier) {
    let expect = store.get(key).map_or(Expect::Absent, |e| Expect::At(e.revision));
    store.commit(suite::write(key, expect, Some(value), tier)).await.unwrap();
}
fn all(store: &Sqlite) -> Vec<(String, Vec<u8>)> {
    store.list(&ListQuery::default()).entries.iter().map(|e| (e.key.to_string(), e.bytes.to_vec())).collect()
}
/// Everything that the datastore's files hold.
fn files(dir: &Path) -> Vec<u8> {
    ["state.db", "state.db-journal", "state.log"].iter().flat_map(|f| fs::read(dir.join(f)).unwrap_or_default()).collect()
}
fn holds(dir: &Path, text: &str) -> bool {
    files(dir).windows(text.len()).any(|w| w == text.as_bytes())
}
fn configured(resources: &str, providers: &str) -> Option<Configured> {
    let text =
        format!("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: {resources}\n  providers: {providers}\n");
    Some(Configured::parse(&text).unwrap())
}
const ONE: &str = "{aescbc: {keys: [{name: one, secret: AAECAwQFBgcICQoLDA0ODw==}]}}";
const TWO: &str = "{aesgcm: {keys: [{name: two, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}";

#[tokio::test]
async fn keys_rotate_while_it_runs_and_nobody_notices() {
    let dir = tempfile::tempdir().unwrap();
    let sealing = sealer(dir.path());
    let store = open(dir.path(), &sealing).unwrap();
    for i in 0..300 {
        put(&store, &format!("secrets/a/{i}"), &format!("hunter{i}"), Tier::Durable).await;
    }
    put(&store, "secrets/a/0", "changed", Tier::Durable).await;
    put(&store, "pods/a/x", "plain", Tier::Durable).await;
    let (before, revision, watch) = (all(&store), store.revision(), store.watch("", store.revision()).unwrap());
    sealing.own().prepare().unwrap();
    sealing.own().rotate().unwrap();
    let (_, keys) = sealing.own().state();
    let looked = store.sealed(false).await.unwrap();
    assert_eq!((looked.stale, looked.by.get(&format!("own key {}", keys[1]))), (301, Some(&301)));
    // Writes go on in between.
    let (sealed, ()) = tokio::join!(store.sealed(true), put(&store, "secrets/b/new", "n", Tier::Durable));
    let sealed = sealed.unwrap();
    assert_eq!((sealed.stale, sealed.failed), (0, None));
    assert_eq!(store.sealed(false).await.unwrap().by.into_iter().collect::<Vec<_>>(), [(format!("own key {}", keys[0]), 302)]);
    assert_eq!(&all(&store)[..before.len()], &before[..]);
    drop(watch);
    assert_eq!(store.revision(), revision.next());
    sealing.own().prune().unwrap();
    let history = store.list_at(&ListQuery::default(), Revision(300)).await.unwrap();
    assert_eq!(history.entries.len(), 300, "the past is sealed anew too");
    store.close().await.unwrap();
    let again = open(dir.path(), &sealer(dir.path())).unwrap();
    assert_eq!(all(&again).len(), before.len() + 1);
}

#[tokio::test]
async fn a_configuration_takes_hold_and_goes_again() {
    let dir = tempfile::tempdir().unwrap();
    let sealing = sealer(dir.path());
    let store = open(dir.path(), &sealing).unwrap();
    put(&store, "configmaps/a/x", "plaintext", Tier::Durable).await;
    put(&store, "leases.coordination.k8s.io/a/x", "volatile-text", Tier::Volatile).await;
    assert!(holds(dir.path(), "plaintext"));
    sealing.configure(configured("['*.*']", &format!("[{ONE}, {{identity: {{}}}}]")));
    put(&store, "secrets/a/x", "hunter2", Tier::Durable).await;
    let told = store.sealed(true).await.unwrap();
    assert_eq!((told.stale, told.by.get("aescbc one")), (0, Some(&2)));
    store.close().await.unwrap();
    for text in ["plaintext", "hunter2", "volatile-text"] {
        assert!(!holds(dir.path(), text), "{text} is on the disk");
    }

    // Without the key nothing opens, nothing is lost, and the message says which object needs which key.
    let error = open(dir.path(), &sealer(dir.path())).err().unwrap();
    let OpenError::Sealed { object, source, .. } = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains(object.as_str()) && *source == SealError::UnknownKey("aescbc one".into()));
    let wrong = sealer(dir.path());
    wrong.configure(configured("['*.*']", "[{aesgcm: {keys: [{name: two, secret: AAECAwQFBgcICQoLDA0ODw==}]}}]"));
    assert!(matches!(open(dir.path(), &wrong), Err(OpenError::Sealed { .. })));

    let both = sealer(dir.path());
    both.configure(configured("['*.*']", &format!("[{TWO}, {ONE}]")));
    let store = open(dir.path(), &both).unwrap();
    assert_eq!(all(&store).len(), 3);
    store.sealed(true).await.unwrap();
    both.configure(configured("['*.*']", &format!("[{TWO}]")));
    assert_eq!(store.sealed(false).await.unwrap().by.keys().collect::<Vec<_>>(), ["aesgcm two"]);
    both.configure(configured("['*.*']", &format!("[{{identity: {{}}}}, {TWO}]")));
    store.sealed(true).await.unwrap();
    assert!(store.sealed(false).await.unwrap().by.is_empty());
    both.configure(None);
    put(&store, "secrets/a/y", "own", Tier::Durable).await;
    assert_eq!(store.sealed(true).await.unwrap().by.len(), 1);
    store.close().await.unwrap();
    assert_eq!(all(&open(dir.path(), &sealer(dir.path())).unwrap()).len(), 4);
}

#[tokio::test]
async fn a_lost_or_foreign_key_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &sealer(dir.path())).unwrap();
    put(&store, "secrets/kube-system/x", "hunter2", Tier::Durable).await;
    store.close().await.unwrap();
    let key = fs::read(dir.path().join("seal.key")).unwrap();
    fs::remove_file(dir.path().join("seal.key")).unwrap();
    assert!(Own::open(dir.path().join("seal.key"), false).err().unwrap().to_string().contains("seal.key"));
    let other = Arc::new(Sealer::new(Own::open(dir.path().join("seal.key"), true).unwrap(), None));
    let told = open(dir.path(), &other).err().unwrap().to_string();
    assert!(told.contains("secrets/kube-system/x") && told.contains("Nothing was changed"), "{told}");
    fs::write(dir.path().join("seal.key"), key).unwrap();
    assert_eq!(all(&open(dir.path(), &sealer(dir.path())).unwrap()).len(), 1);
}

#[tokio::test]
async fn what_cannot_be_opened_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sealing = sealer(dir.path());
    sealing.configure(configured("[configmaps]", &format!("[{ONE}]")));
    let store = open(dir.path(), &sealing).unwrap();
    put(&store, "configmaps/a/x", "v", Tier::Durable).await;
    sealing.configure(configured("[configmaps]", &format!("[{TWO}]")));
    let told = store.sealed(true).await.unwrap();
    assert_eq!((told.stale, told.failed), (1, Some(("configmaps/a/x".into(), SealError::UnknownKey("aescbc one".into())))));
    assert_eq!(all(&store).len(), 1, "memory still has it");
    assert!(matches!(store.list_at(&ListQuery::default(), store.revision()).await, Ok(_) | Err(StoreError::Compacted { .. })));
    sealing.configure(configured("[configmaps]", &format!("[{TWO}, {ONE}]")));
    assert_eq!(store.sealed(true).await.unwrap().by.into_iter().collect::<Vec<_>>(), [("aesgcm two".into(), 1)]);
}
