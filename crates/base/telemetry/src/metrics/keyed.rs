//! Counts by a label whose values come one by one: found under a read lock by a borrowed key, made once, shared afterwards.
use parking_lot::RwLock;
use std::{borrow::Borrow, collections::HashMap, hash::Hash, sync::Arc};

/// At the most `most` keys: what comes later is counted under one that the caller names.
#[derive(Debug)]
pub struct Keyed<K, T> {
    all: RwLock<HashMap<K, Arc<T>>>,
    most: usize,
}

impl<K: Hash + Eq + Clone + Ord, T> Keyed<K, T> {
    pub fn new(most: usize) -> Self {
        Self { all: RwLock::default(), most }
    }
    /// What is counted under `key`, which costs nothing to look up; `own` makes a key to keep, `other` is the key of all that
    /// there is no room for.
    pub fn of<Q: Hash + Eq + ?Sized>(&self, key: &Q, own: impl FnOnce() -> K, other: impl FnOnce() -> K, fresh: impl FnOnce(&K) -> T) -> Arc<T>
    where
        K: Borrow<Q>,
    {
        if let Some(known) = self.all.read().get(key) {
            return known.clone();
        }
        let mut all = self.all.write();
        let key = if all.len() < self.most { own() } else { other() };
        all.entry(key).or_insert_with_key(|k| Arc::new(fresh(k))).clone()
    }
    /// All of them, by their keys' order.
    pub fn sorted(&self) -> Vec<(K, Arc<T>)> {
        let mut all: Vec<(K, Arc<T>)> = self.all.read().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    #[test]
    fn keys_are_bounded() {
        let k: Keyed<String, AtomicU64> = Keyed::new(2);
        for key in ["a", "b", "c", "d", "a"] {
            k.of(key, || key.to_owned(), || "others".to_owned(), |_| AtomicU64::new(0)).fetch_add(1, Ordering::Relaxed);
        }
        let all: Vec<(String, u64)> = k.sorted().into_iter().map(|(k, n)| (k, n.load(Ordering::Relaxed))).collect();
        assert_eq!(all, [("a".to_owned(), 2), ("b".to_owned(), 1), ("others".to_owned(), 2)]);
    }
}
