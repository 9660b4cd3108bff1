//! What nodes and pods use, out of their kubelets' readings: `metrics.k8s.io` without a pod that serves it.
//!
//! Kubelets are read when somebody asks, no more often than every fifteen seconds: a cluster that nobody asks is not read.
//! Who asks first, or after a long time, waits for the second reading a second later.

mod readings;

use crate::connect::{KubeletTls, kubelet, text};
use futures::{StreamExt, stream};
use readings::Readings;
use skiff_registry::{Usage, Usages};
use skiff_store::{ListQuery, Store};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// Readings are as good as new for so long.
const FRESH: Duration = Duration::from_secs(15);
/// A reading that is older is nothing to compare with: what was used since then is past.
const OLD: Duration = Duration::from_secs(120);
const BETWEEN: Duration = Duration::from_secs(1);
/// A kubelet that takes longer is left out.
const PATIENCE: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 16;

type ByNode = BTreeMap<String, Readings>;

#[derive(Default)]
struct Taken {
    before: ByNode,
    last: ByNode,
    at: Option<Instant>,
    /// Of the one before.
    before_at: Option<Instant>,
}

pub(crate) struct Measure {
    store: Arc<dyn Store>,
    kubelets: KubeletTls,
    /// Held while kubelets are read: who comes meanwhile gets the same.
    taken: Mutex<Taken>,
}

impl Measure {
    pub fn new(store: Arc<dyn Store>, kubelets: KubeletTls) -> Self {
        Self { store, kubelets, taken: Mutex::default() }
    }

    async fn read(&self) -> ByNode {
        let nodes = self.store.list(&ListQuery { prefix: "nodes/".into(), ..Default::default() }).entries;
        let one = |entry: skiff_store::Entry| async move {
            let node = skiff_json::from_slice(&entry.bytes).ok()?;
            let backend = kubelet(&node, entry.name(), &self.kubelets).ok()?;
            let read = tokio::time::timeout(PATIENCE, text(&backend, "/metrics/resource")).await;
            match read.unwrap_or_else(|_| Err("no answer in time".into())) {
                Ok(text) => Some((entry.name().to_owned(), Readings::parse(&text))),
                Err(why) => {
                    tracing::debug!(target: "api", node = entry.name(), why, "a kubelet's readings are not to be had");
                    None
                }
            }
        };
        stream::iter(nodes).map(one).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// Two readings, the last of which is fresh.
    async fn pair(&self) -> tokio::sync::MutexGuard<'_, Taken> {
        let mut t = self.taken.lock().await;
        let within = |at: Option<Instant>, limit: Duration| at.is_some_and(|at| at.elapsed() < limit);
        if within(t.at, FRESH) && t.before_at.is_some() {
            return t;
        }
        if !within(t.at, OLD) {
            (t.last, t.at) = (self.read().await, Some(Instant::now()));
            tokio::time::sleep(BETWEEN).await;
        }
        let fresh = self.read().await;
        (t.before, t.before_at) = (std::mem::replace(&mut t.last, fresh), t.at);
        t.at = Some(Instant::now());
        t
    }
}

#[async_trait::async_trait]
impl Usages for Measure {
    async fn nodes(&self) -> BTreeMap<String, Usage> {
        let t = self.pair().await;
        t.last.iter().filter_map(|(name, after)| Some((name.clone(), readings::of_node(t.before.get(name)?, after)?))).collect()
    }
    async fn pods(&self) -> BTreeMap<(String, String), Usage> {
        let t = self.pair().await;
        t.last.iter().filter_map(|(name, after)| Some(readings::of_pods(t.before.get(name)?, after))).flatten().collect()
    }
}
