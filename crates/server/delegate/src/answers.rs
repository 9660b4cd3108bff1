//! Answers that are remembered for a while, the oldest of a full memory forgotten first.
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Answers<K, V> {
    most: usize,
    kept: Mutex<Kept<K, V>>,
}

struct Kept<K, V> {
    by: HashMap<K, (V, Instant)>,
    order: VecDeque<K>,
}

impl<K: Hash + Eq + Clone, V: Clone> Answers<K, V> {
    pub fn new(most: usize) -> Self {
        Self { most, kept: Mutex::new(Kept { by: HashMap::new(), order: VecDeque::new() }) }
    }
    pub fn get(&self, key: &K) -> Option<V> {
        let kept = self.kept.lock();
        kept.by.get(key).filter(|(_, until)| *until > Instant::now()).map(|(v, _)| v.clone())
    }
    pub fn put(&self, key: K, value: V, holds: Duration) {
        let Some(until) = Instant::now().checked_add(holds).filter(|_| !holds.is_zero()) else { return };
        let mut kept = self.kept.lock();
        if kept.by.insert(key.clone(), (value, until)).is_none() {
            kept.order.push_back(key);
        }
        while kept.order.len() > self.most {
            if let Some(oldest) = kept.order.pop_front() {
                kept.by.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let answers = Answers::new(2);
            answers.put("a", 1, Duration::from_secs(60));
            answers.put("b", 2, Duration::ZERO);
            assert_eq!((answers.get(&"a"), answers.get(&"b")), (Some(1), None));
            for key in ["c", "d"] {
                answers.put(key, 3, Duration::from_secs(60));
            }
            assert_eq!((answers.get(&"a"), answers.get(&"d")), (None, Some(3)));
        });
    }
}
