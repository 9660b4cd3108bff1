//! Watches on the ConfigMaps and Secrets that pods refer to, each only while a pod needs it.
use crate::pods::Slot;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use parking_lot::Mutex;
use skiff_client::{Client, ListParams, resource_of};
use skiff_meta::{GroupVersionResource, Status};
use skiff_pod::env::{Entries, RefKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;

type Key = (RefKind, String, String);

struct Watched {
    users: BTreeMap<String, Weak<Slot>>,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub struct References {
    client: Client,
    watched: Arc<Mutex<BTreeMap<Key, Watched>>>,
}

fn resource(kind: RefKind) -> GroupVersionResource {
    match kind {
        RefKind::ConfigMap => resource_of::<ConfigMap>(),
        RefKind::Secret => resource_of::<Secret>(),
    }
}

impl References {
    pub fn new(client: Client) -> Self {
        Self { client, watched: Arc::default() }
    }
    /// From now on `slot` is woken when one of these changes, and by no others.
    pub fn set(&self, slot: &Arc<Slot>, wanted: impl IntoIterator<Item = (RefKind, String)>) {
        let wanted: BTreeSet<Key> = wanted.into_iter().map(|(k, n)| (k, slot.namespace.clone(), n)).collect();
        let mut all = self.watched.lock();
        all.retain(|key, w| {
            if !wanted.contains(key) {
                w.users.remove(&slot.uid);
            }
            !w.users.is_empty()
        });
        for key in wanted {
            let entry = all.entry(key.clone()).or_insert_with(|| {
                let task = tokio::spawn(watch(self.client.clone(), key, Arc::downgrade(&self.watched)));
                Watched { users: BTreeMap::new(), task: task.abort_handle() }
            });
            entry.users.insert(slot.uid.clone(), Arc::downgrade(slot));
        }
    }
    /// The text entries of one object, fresh from the API; None when it is not there.
    pub async fn entries(&self, kind: RefKind, namespace: &str, name: &str) -> Result<Option<Entries>, Status> {
        match kind {
            RefKind::ConfigMap => Ok(self.client.find::<ConfigMap>(namespace, name).await?.map(|c| c.data.unwrap_or_default())),
            RefKind::Secret => {
                let text = |(k, v): (String, k8s_openapi::ByteString)| (k, String::from_utf8_lossy(&v.0).into_owned());
                Ok(self.client.find::<Secret>(namespace, name).await?.map(|s| s.data.unwrap_or_default().into_iter().map(text).collect()))
            }
        }
    }
}

/// Wakes the users at every change; begins anew whenever the watch ends.
async fn watch(client: Client, key: Key, watched: Weak<Mutex<BTreeMap<Key, Watched>>>) {
    let params = ListParams { fields: format!("metadata.name={}", key.2), ..ListParams::default() };
    let mut wait = Duration::from_millis(200);
    loop {
        if let Ok(mut events) = client.watch_bytes(resource(key.0), &key.1, &params).await {
            while let Some(event) = events.next().await {
                match event.kind {
                    skiff_client::WatchKind::Bookmark => continue,
                    skiff_client::WatchKind::Error => break,
                    _ => wait = Duration::from_millis(200),
                }
                let Some(all) = watched.upgrade() else { return };
                let users: Vec<Arc<Slot>> = all.lock().get(&key).map(|w| w.users.values().filter_map(Weak::upgrade).collect()).unwrap_or_default();
                users.iter().for_each(|s| s.wake());
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(30));
    }
}
