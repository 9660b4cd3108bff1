//! Durable creates with 1 and 64 writers, GET, LIST, watch fan-out: rates, CPU and bytes written an operation.
//!
//! `cargo bench -p skiff-sqlite`. CPU is of the whole process, bytes are `write_bytes` of /proc/self/io. SKIFF_BENCH_DIR
//! names the folder to write in (default: the system's temporary one).
use futures::StreamExt;
use skiff_sqlite::{Config, Sqlite};
use skiff_store::{Expect, ListQuery, Store, Tier, suite};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

struct Meter {
    started: Instant,
    cpu: Duration,
    written: u64,
}

fn cpu() -> Duration {
    // SAFETY: getrusage fills the struct that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    io.lines().find_map(|l| l.strip_prefix("write_bytes: ")).and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Meter {
    fn start() -> Self {
        Self { started: Instant::now(), cpu: cpu(), written: written() }
    }
    fn tell(&self, what: &str, operations: u64) {
        let (time, n) = (self.started.elapsed().as_secs_f64(), operations as f64);
        let cpu = (cpu() - self.cpu).as_secs_f64() * 1e6 / n;
        let bytes = (written() - self.written) as f64 / n;
        println!("{what:<44} {:>10.0}/s {cpu:>9.2} us CPU {bytes:>8.0} B written", n / time);
    }
}

async fn creates(store: &Arc<Sqlite>, label: &str, writers: u64, each: u64, size: usize) {
    let meter = Meter::start();
    let tasks: Vec<_> = (0..writers)
        .map(|w| {
            let (store, value, label) = (store.clone(), "v".repeat(size - 60), label.to_owned());
            tokio::spawn(async move {
                for i in 0..each {
                    let write = suite::write(&format!("{label}/ns{w}/{i:05}"), Expect::Absent, Some(&value), Tier::Durable);
                    store.commit(write).await.expect("the bench writes");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the bench writes");
    }
    meter.tell(&format!("durable create, {size} B, {writers} writers"), writers * each);
}

async fn fan_out(store: &Arc<Sqlite>, watchers: u64, writes: u64) {
    let seen = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let mut watch = store.watch("leases/", store.revision()).expect("present");
            let seen = seen.clone();
            tokio::spawn(async move {
                for _ in 0..writes {
                    watch.next().await.expect("goes on").expect("keeps up");
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let meter = Meter::start();
    for i in 0..writes {
        let write = suite::write(&format!("leases/a/{watchers}-{i}"), Expect::Absent, Some("v"), Tier::Volatile);
        store.commit(write).await.expect("the bench writes");
    }
    for task in tasks {
        task.await.expect("watches end");
    }
    meter.tell(&format!("volatile write seen by {watchers} watchers"), writes);
}

/// What an idle cluster of one node writes: renewals of four leases for an hour, and the checkpoint that ends it.
async fn idle_hour(root: &std::path::Path) {
    let store = Sqlite::open(Config::new(root.join("idle")), suite::indexer()).expect("opens");
    let value = "v".repeat(400);
    let meter = Meter::start();
    for n in 0..3600 {
        let key = format!("leases/kube-system/{}", n % 4);
        let expect = store.get(&key).map_or(Expect::Absent, |e| Expect::At(e.revision));
        store.commit(suite::write(&key, expect, Some(&value), Tier::Volatile)).await.expect("the bench writes");
    }
    store.close().await.expect("closes");
    meter.tell("an idle hour: 3,600 renewals and a checkpoint", 1);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let root = std::env::var("SKIFF_BENCH_DIR").map_or_else(|_| tempfile::tempdir(), tempfile::tempdir_in).expect("a folder");
    runtime.block_on(async {
        let store = Arc::new(Sqlite::open(Config::new(root.path().join("s")), suite::indexer()).expect("opens"));
        idle_hour(root.path()).await;
        creates(&store, "one", 1, 1_000, 1024).await;
        creates(&store, "many", 64, 300, 1024).await;
        creates(&store, "pods", 64, 160, 4700).await;
        let meter = Meter::start();
        for i in 0..1_000_000_u64 {
            std::hint::black_box(store.get(&format!("pods/ns{}/{:05}", i % 64, i % 160)));
        }
        meter.tell("GET", 1_000_000);
        let meter = Meter::start();
        for _ in 0..100 {
            std::hint::black_box(store.list(&ListQuery { prefix: "pods/".into(), limit: 10_000, ..ListQuery::default() }));
        }
        meter.tell("LIST of 10,000", 100);
        fan_out(&store, 1, 2_000).await;
        fan_out(&store, 1_000, 2_000).await;
        let meter = Meter::start();
        store.close().await.expect("closes");
        meter.tell("close", 1);
        let meter = Meter::start();
        let again = Sqlite::open(Config::new(root.path().join("s")), suite::indexer()).expect("opens");
        meter.tell(&format!("open, {} entries", again.list(&ListQuery::default()).entries.len()), 1);
    });
}
