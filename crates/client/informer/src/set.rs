//! The informers of a process, one a selection.
use crate::{Informer, Typed, feed::Feed};
use parking_lot::Mutex;
use skiff_client::{Client, Object, resource_of};
use skiff_meta::GroupVersionResource;
use std::{collections::HashMap, sync::Arc};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What an informer holds. Empty strings mean "all".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    pub resource: GroupVersionResource,
    pub namespace: String,
    /// Selectors in their query form.
    pub labels: String,
    pub fields: String,
}

impl Selection {
    pub fn of(resource: GroupVersionResource) -> Self {
        Self { resource, namespace: String::new(), labels: String::new(), fields: String::new() }
    }
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }
    pub fn labels(mut self, selector: &str) -> Self {
        self.labels = selector.into();
        self
    }
    pub fn fields(mut self, selector: &str) -> Self {
        self.fields = selector.into();
        self
    }
}

/// A cheap handle; informers stop when the last clone is dropped, or [`Informers::stop`] is called.
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    running: Mutex<HashMap<Selection, Arc<Informer>>>,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Informers {
    /// `client` needs list and watch on whatever is asked for.
    pub fn new(client: Client) -> Self {
        let stop = CancellationToken::new();
        let inner = Inner { client, running: Mutex::default(), stop: stop.clone(), _guard: stop.drop_guard() };
        Self { inner: Arc::new(inner) }
    }
    /// All objects of a kind. The first call starts the watch; must be called within a tokio runtime.
    pub fn of<K: Object>(&self) -> Typed<K> {
        self.select(Selection::of(resource_of::<K>()))
    }
    /// Part of the objects of a kind; `selection.resource` must be the one of `K`.
    pub fn select<K: Object>(&self, selection: Selection) -> Typed<K> {
        Typed::new(self.raw(selection))
    }
    /// For kinds known only at run time.
    pub fn raw(&self, selection: Selection) -> Arc<Informer> {
        let mut running = self.inner.running.lock();
        let start = || {
            let informer = Informer::new();
            let feed = Feed::new(self.inner.client.clone(), selection.clone(), informer.clone());
            let stop = self.inner.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(feed.run()).await });
            informer
        };
        running.entry(selection.clone()).or_insert_with(start).clone()
    }
    /// Waits until all that were asked for so far hold their first full state.
    pub async fn synced(&self) {
        let all: Vec<Arc<Informer>> = self.inner.running.lock().values().cloned().collect();
        for informer in all {
            informer.synced().await;
        }
    }
    /// What has not seen its first full state yet.
    pub fn unsynced(&self) -> Vec<Selection> {
        self.inner.running.lock().iter().filter(|(_, i)| !i.is_synced()).map(|(s, _)| s.clone()).collect()
    }
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }
}
