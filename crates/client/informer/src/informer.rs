//! A shared informer: the state of one selection and those who listen to it.
use crate::{Change, Row, key_of, store::Store};
use parking_lot::{Mutex, RwLock};
use skiff_client::Object;
use skiff_meta::{LabelSelector, Revision, Uid};
use std::{marker::PhantomData, sync::Arc};
use tokio::sync::watch;

type Subscriber = Box<dyn FnMut(&Change) + Send>;
const BY_OWNER: &str = "owner uid";

/// Rows of one selection, kept up to date by a task in the background.
pub struct Informer {
    store: RwLock<Store>,
    /// Held while changes are told, so that a new subscriber misses and repeats nothing.
    subscribers: Mutex<Vec<Subscriber>>,
    synced: watch::Sender<bool>,
}

impl Informer {
    pub(crate) fn new() -> Arc<Self> {
        let mut store = Store::default();
        store.add_index(BY_OWNER, Box::new(|r| r.owners.iter().map(|o| o.uid.to_string()).collect()));
        Arc::new(Self { store: RwLock::new(store), subscribers: Mutex::default(), synced: watch::Sender::new(false) })
    }
    pub fn row(&self, namespace: &str, name: &str) -> Option<Arc<Row>> {
        self.row_at(&key_of(namespace, name))
    }
    pub fn row_at(&self, key: &str) -> Option<Arc<Row>> {
        self.store.read().get(key)
    }
    /// In the order of their keys; an empty namespace means all namespaces.
    pub fn rows(&self, namespace: &str, selector: &LabelSelector) -> Vec<Arc<Row>> {
        self.store.read().list(namespace, selector)
    }
    /// Those that name `uid` among their owners, controlling or not.
    pub fn owned_by(&self, uid: &Uid) -> Vec<Arc<Row>> {
        self.indexed(BY_OWNER, uid.as_str())
    }
    /// Adds an index; `of` gives the values an object is found under. The same name again changes nothing.
    pub fn index(&self, name: &'static str, of: impl Fn(&Row) -> Vec<String> + Send + Sync + 'static) {
        self.store.write().add_index(name, Box::new(of));
    }
    /// Those that an index holds under `value`; none when there is no such index.
    pub fn indexed(&self, name: &str, value: &str) -> Vec<Arc<Row>> {
        self.store.read().indexed(name, value)
    }
    pub fn len(&self) -> usize {
        self.store.read().len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// How far the watch has come: every change of the selection up to here has been told.
    pub fn revision(&self) -> Revision {
        self.store.read().revision
    }
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }
    /// Waits for the first full state.
    pub async fn synced(&self) {
        let mut rx = self.synced.subscribe();
        // The sender lives as long as self does.
        let _ = rx.wait_for(|s| *s).await;
    }
    /// Calls `tell` for what is there (as Added) and for each change from now on, in order. It must return at once:
    /// put a key in a queue, do the work elsewhere. Look-ups in this informer are allowed, subscribing is not.
    pub fn subscribe(&self, mut tell: impl FnMut(&Change) + Send + 'static) {
        let mut all = self.subscribers.lock();
        for row in self.rows("", &LabelSelector::everything()) {
            Change::between(None, Some(row)).iter().for_each(&mut tell);
        }
        all.push(Box::new(tell));
    }

    pub(crate) fn replace(&self, rows: Vec<Row>, revision: Revision) {
        let mut subscribers = self.subscribers.lock();
        let changes = {
            let mut store = self.store.write();
            store.revision = revision;
            store.replace(rows)
        };
        tell(&mut subscribers, &changes);
        self.synced.send_replace(true);
    }
    pub(crate) fn put(&self, row: Row, revision: Revision) {
        let mut subscribers = self.subscribers.lock();
        let changes = {
            let mut store = self.store.write();
            store.revision = store.revision.max(revision);
            store.put(row)
        };
        tell(&mut subscribers, &changes);
    }
    /// The last state comes with a deletion and is what subscribers get as the old one.
    pub(crate) fn remove(&self, last: Row, revision: Revision) {
        let mut subscribers = self.subscribers.lock();
        let changes: Vec<Change> = {
            let mut store = self.store.write();
            store.revision = store.revision.max(revision);
            let key = last.key.clone();
            let was = store.set(&key, None);
            was.and_then(|_| Change::between(Some(Arc::new(last)), None)).into_iter().collect()
        };
        tell(&mut subscribers, &changes);
    }
    pub(crate) fn reached(&self, revision: Revision) {
        let mut store = self.store.write();
        store.revision = store.revision.max(revision);
    }
}

fn tell(subscribers: &mut [Subscriber], changes: &[Change]) {
    for change in changes {
        subscribers.iter_mut().for_each(|s| s(change));
    }
}

/// An informer whose rows are read as `K`.
pub struct Typed<K> {
    informer: Arc<Informer>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Typed<K> {
    fn clone(&self) -> Self {
        Self { informer: self.informer.clone(), kind: PhantomData }
    }
}
impl<K> std::ops::Deref for Typed<K> {
    type Target = Informer;
    fn deref(&self) -> &Informer {
        &self.informer
    }
}

impl<K: Object> Typed<K> {
    pub(crate) fn new(informer: Arc<Informer>) -> Self {
        Self { informer, kind: PhantomData }
    }
    pub fn shared(&self) -> &Arc<Informer> {
        &self.informer
    }
    /// A typed view of one object. What cannot be decoded is logged and taken as absent.
    pub fn get(&self, namespace: &str, name: &str) -> Option<K> {
        self.row(namespace, name).and_then(|r| view(&r))
    }
    pub fn list(&self, namespace: &str, selector: &LabelSelector) -> Vec<K> {
        views(self.rows(namespace, selector))
    }
    pub fn all(&self) -> Vec<K> {
        self.list("", &LabelSelector::everything())
    }
    pub fn list_owned(&self, uid: &Uid) -> Vec<K> {
        views(self.owned_by(uid))
    }
    pub fn list_indexed(&self, index: &str, value: &str) -> Vec<K> {
        views(self.indexed(index, value))
    }
}

fn view<K: Object>(row: &Row) -> Option<K> {
    row.decode().map_err(|e| tracing::warn!(target: "informer", key = &*row.key, error = %e, "object cannot be decoded")).ok()
}
fn views<K: Object>(rows: Vec<Arc<Row>>) -> Vec<K> {
    rows.iter().filter_map(|r| view(r)).collect()
}
