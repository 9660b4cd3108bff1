//! Own writes that the informer has not shown yet.
use parking_lot::Mutex;
use skiff_informer::Informer;
use skiff_meta::{Revision, Uid};
use std::{collections::HashMap, sync::Arc};

/// Holds a key back while the informer lags behind what the controller itself wrote for it: acting on the older state
/// would create or delete twice. There is no time-out: the watch reaches every revision, and a relist shows what is gone.
#[derive(Default)]
pub struct Expectations {
    waiting: Mutex<HashMap<Arc<str>, Waiting>>,
}

#[derive(Default)]
struct Waiting {
    revision: Revision,
    gone: Vec<(String, Uid)>,
}

impl Expectations {
    pub fn new() -> Self {
        Self::default()
    }
    /// A create, update or patch for `key` was answered with `resource_version`.
    pub fn wrote(&self, key: &str, resource_version: &str) {
        let revision = resource_version.parse().unwrap_or_default();
        let mut all = self.waiting.lock();
        let w = all.entry(key.into()).or_default();
        w.revision = w.revision.max(revision);
    }
    /// The object at `object` (`namespace/name`) was deleted for `key`.
    pub fn deleted(&self, key: &str, object: &str, uid: &Uid) {
        self.waiting.lock().entry(key.into()).or_default().gone.push((object.to_owned(), uid.clone()));
    }
    /// Whether `informer` shows all of it. An object that is only being deleted counts as gone.
    pub fn met(&self, key: &str, informer: &Informer) -> bool {
        let mut all = self.waiting.lock();
        let Some(w) = all.get_mut(key) else { return true };
        let there = |object: &str, uid: &Uid| informer.row_at(object).is_some_and(|r| r.uid == *uid && !r.deleting);
        w.gone.retain(|(object, uid)| there(object, uid));
        let met = w.gone.is_empty() && informer.revision() >= w.revision;
        if met {
            all.remove(key);
        }
        met
    }
    pub fn forget(&self, key: &str) {
        self.waiting.lock().remove(key);
    }
}
