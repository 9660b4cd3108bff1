//! What lists weighed when they were last answered: what the next one is reckoned to weigh.
use parking_lot::Mutex;
use skiff_request::{ListAnswer, Target};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// No more collections are remembered. Beyond it, all is forgotten and learnt anew.
const MOST: usize = 8192;

#[derive(Default)]
pub(crate) struct Sizes {
    keys: RandomState,
    /// Objects and bytes, by the hash of the collection.
    last: Mutex<HashMap<u64, (u64, u64)>>,
}

impl Sizes {
    fn key(&self, t: &Target) -> u64 {
        self.keys.hash_one((&t.resource.group, &t.resource.resource, &t.namespace))
    }
    fn note(&self, target: &Target, objects: u64, bytes: u64) {
        let key = self.key(target);
        let mut last = self.last.lock();
        if last.len() >= MOST && !last.contains_key(&key) {
            last.clear();
        }
        last.insert(key, (objects, bytes));
    }
    /// A list, or a page of it with what is known to be left behind.
    pub fn note_list(&self, target: &Target, list: &ListAnswer) {
        let bytes: usize = list.items.iter().map(bytes::Bytes::len).sum();
        let (here, all) = (list.items.len() as u64, list.items.len() as u64 + list.remaining.unwrap_or_default());
        self.note(target, all, bytes as u64 * all / here.max(1));
    }
    pub fn of(&self, target: &Target) -> (u64, u64) {
        let key = self.key(target);
        self.last.lock().get(&key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_meta::GroupVersionResource;
    #[test]
    fn collections_are_told_apart_and_forgotten_in_time() {
        let (s, pods) = (Sizes::default(), |ns: &str| Target::new(GroupVersionResource::new("", "v1", "pods"), ns, ""));
        s.note(&pods("a"), 3, 300);
        assert_eq!((s.of(&pods("a")), s.of(&pods("b"))), ((3, 300), (0, 0)));
        for i in 0..MOST {
            s.note(&pods(&i.to_string()), 1, 1);
        }
        assert!(s.last.lock().len() <= MOST && s.of(&pods("a")) == (0, 0));
    }
}
