//! Groups of concurrent compare-and-swap writes, compactions and restarts, against the fake as the model.
//!
//! A group's writes are queued in order before the first is answered, so the engine must come to what the model comes
//! to when it takes them one by one: outcome by outcome, revision by revision.
use futures::future::join_all;
use proptest::prelude::*;
use skiff_cache::Limits;
use skiff_meta::Revision;
use skiff_sqlite::{Config, Sqlite};
use skiff_store::{Entry, Expect, ListQuery, Page, Store, StoreError, Tier, Write, memory::Memory, suite};

#[derive(Clone, Debug)]
enum Step {
    Group(Vec<Op>),
    /// To so many hundredths of the way from the oldest revision to the newest.
    Compact(u64),
    Restart,
}

#[derive(Clone, Debug)]
struct Op {
    key: usize,
    /// Adds so many revisions to the one that is there: 0 mostly, so that most compares hold.
    off: u64,
    create: bool,
    delete: bool,
    volatile: bool,
}

fn op() -> impl Strategy<Value = Op> {
    (0..6_usize, prop_oneof![5 => Just(0), 1 => 1..3_u64], prop::bool::weighted(0.3), prop::bool::weighted(0.25)).prop_map(|(key, off, create, delete)| Op {
        key,
        off,
        create,
        delete,
        volatile: key >= 4,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(op(), 1..20).prop_map(Step::Group),
        2 => (0..=100_u64).prop_map(Step::Compact),
        1 => Just(Step::Restart),
    ]
}

fn write(op: &Op, present: Option<Entry>, n: usize) -> Write {
    let resource = ["pods", "secrets", "pods", "secrets", "leases", "leases"][op.key];
    let expect = match present {
        Some(entry) if !op.create => Expect::At(Revision(entry.revision.0 + op.off)),
        _ => Expect::Absent,
    };
    let tier = if op.volatile { Tier::Volatile } else { Tier::Durable };
    suite::write(&format!("{resource}/a/{}", op.key), expect, (!op.delete).then_some(&n.to_string()), tier)
}

fn told(result: Result<Entry, StoreError>) -> Result<(Revision, String), Option<Revision>> {
    match result {
        Ok(e) => Ok((e.revision, String::from_utf8_lossy(&e.bytes).into_owned())),
        Err(StoreError::Conflict { current, .. }) => Err(current.map(|e| e.revision)),
        Err(other) => panic!("{other}"),
    }
}
fn shown(page: Page) -> Vec<(String, Revision, String)> {
    page.entries.iter().map(|e| (e.key.to_string(), e.revision, e.row.uid.to_string())).collect()
}
fn under(prefix: &str) -> ListQuery {
    ListQuery { prefix: prefix.into(), ..ListQuery::default() }
}

async fn compare(store: &Sqlite, model: &Memory) {
    assert_eq!((store.revision(), store.oldest()), (model.revision(), model.oldest()));
    assert_eq!(shown(store.list(&under(""))), shown(model.list(&under(""))));
    for at in [store.oldest().0, (store.oldest().0 + store.revision().0) / 2, store.revision().0].map(Revision) {
        for prefix in ["pods/", "secrets/"] {
            let (ours, models) = (store.list_at(&under(prefix), at).await, model.list_at(&under(prefix), at).await);
            assert_eq!(shown(ours.unwrap()), shown(models.unwrap()), "{prefix} at {at}");
        }
    }
}

async fn run(steps: Vec<Step>, ring_events: usize) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { limits: Limits { ring_events, ..Limits::default() }, group_writes: 7, ..Config::new(dir.path()) };
    let open = || Sqlite::open(config.clone(), suite::indexer()).unwrap();
    let (mut store, model) = (open(), Memory::new(suite::indexer()));
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Group(ops) => {
                // Each write expects what the model has at its turn: so the group depends on itself.
                let (mut writes, mut expected) = (Vec::new(), Vec::new());
                for op in &ops {
                    let key = write(op, None, n).key;
                    let write = write(op, model.get(&key), n);
                    expected.push(told(model.commit(write.clone()).await));
                    writes.push(write);
                }
                let outcomes = join_all(writes.into_iter().map(|w| store.commit(w))).await;
                assert_eq!(outcomes.into_iter().map(told).collect::<Vec<_>>(), expected);
            }
            Step::Compact(part) => {
                let (oldest, newest) = (model.oldest().0, model.revision().0);
                let to = Revision(oldest + (newest - oldest) * part / 100);
                model.compact(to).await.unwrap();
                store.compact(to).await.unwrap();
            }
            Step::Restart => {
                store.close().await.unwrap();
                store = open();
                // What was compacted without deleting anything is not worth a write: it may be forgotten again.
                store.compact(model.oldest()).await.unwrap();
            }
        }
        compare(&store, &model).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn groups_come_to_what_the_model_comes_to(steps in prop::collection::vec(step(), 1..30), ring in prop_oneof![Just(0_usize), Just(20), Just(10_000)]) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps, ring));
    }
}
