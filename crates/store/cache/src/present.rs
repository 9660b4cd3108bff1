//! The present state: entries sorted by key, in chunks that are copied when a snapshot still holds them.
//!
//! One sorted sequence for all keys, so any prefix is one range of it. A chunk holds at most [`CHUNK`] entries and is
//! never empty. A snapshot clones the chunks' pointers; a write then copies the one chunk it touches, at the most.
use skiff_meta::Revision;
use skiff_store::{Entry, ListQuery, Page};
use std::sync::Arc;

/// Entries in a full chunk: 128 × 72 bytes is what a write copies when a reader holds the chunk.
const CHUNK: usize = 128;

#[derive(Default)]
pub struct Present {
    chunks: Vec<Arc<Vec<Entry>>>,
    len: usize,
}

/// A consistent part of the present state, kept while writes go on.
pub struct Snapshot {
    chunks: Vec<Arc<Vec<Entry>>>,
    pub revision: Revision,
}

/// Whether `key` comes before the end of what starts with `prefix`.
fn not_behind(key: &str, prefix: &str) -> bool {
    key < prefix || key.starts_with(prefix)
}

impl Present {
    /// Takes entries that are sorted by key, each key once.
    pub fn from_sorted(entries: Vec<Entry>) -> Self {
        let len = entries.len();
        let mut chunks = Vec::with_capacity(len / CHUNK + 1);
        let mut entries = entries.into_iter();
        loop {
            let chunk: Vec<Entry> = entries.by_ref().take(CHUNK * 3 / 4).collect();
            if chunk.is_empty() {
                return Self { chunks, len };
            }
            chunks.push(Arc::new(chunk));
        }
    }
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The chunk in which `key` is, or would be.
    fn chunk_of(&self, key: &str) -> usize {
        self.chunks.partition_point(|c| c.first().is_some_and(|e| &*e.key <= key)).saturating_sub(1)
    }
    pub fn get(&self, key: &str) -> Option<&Entry> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let i = chunk.binary_search_by(|e| (*e.key).cmp(key)).ok()?;
        chunk.get(i)
    }
    /// Puts the entry in the place of an earlier one of its key.
    pub fn put(&mut self, entry: Entry) {
        let mut i = self.chunk_of(&entry.key);
        let Some(chunk) = self.chunks.get_mut(i) else {
            self.len = 1;
            return self.chunks.push(Arc::new(vec![entry]));
        };
        match chunk.binary_search_by(|e| e.key.cmp(&entry.key)) {
            Ok(at) => Arc::make_mut(chunk)[at] = entry,
            Err(mut at) => {
                if chunk.len() >= CHUNK {
                    // Appending keeps what is before it full; anything else splits in the middle.
                    let keep = if at == chunk.len() { at } else { CHUNK / 2 };
                    let tail = Arc::make_mut(chunk).split_off(keep);
                    if tail.is_empty() {
                        self.chunks.insert(i + 1, Arc::new(Vec::with_capacity(CHUNK)));
                    } else {
                        self.chunks.insert(i + 1, Arc::new(tail));
                    }
                    if at >= keep {
                        (i, at) = (i + 1, at - keep);
                    }
                }
                Arc::make_mut(&mut self.chunks[i]).insert(at, entry);
                self.len += 1;
            }
        }
    }
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let i = self.chunk_of(key);
        let chunk = self.chunks.get_mut(i)?;
        let at = chunk.binary_search_by(|e| (*e.key).cmp(key)).ok()?;
        let entry = Arc::make_mut(chunk).remove(at);
        if chunk.is_empty() {
            self.chunks.remove(i);
        }
        self.len -= 1;
        Some(entry)
    }
    /// Everything that starts with `prefix` (and some neighbours that [`Snapshot::page`] leaves out), from `after` on.
    pub fn snapshot(&self, prefix: &str, after: Option<&str>, revision: Revision) -> Snapshot {
        let from = self.chunk_of(after.map_or(prefix, |a| a.max(prefix)));
        let to = self.chunks.partition_point(|c| c.first().is_some_and(|e| not_behind(&e.key, prefix)));
        Snapshot { chunks: self.chunks.get(from..to).unwrap_or_default().to_vec(), revision }
    }
}

impl Snapshot {
    /// How many entries start with `prefix`, and their bytes.
    pub fn count(&self, prefix: &str) -> (usize, u64) {
        let all = self.chunks.iter().flat_map(|c| c.iter()).filter(|e| e.key.starts_with(prefix));
        all.fold((0, 0), |(n, bytes), e| (n + 1, bytes + e.bytes.len() as u64))
    }
    /// The ranges of the chunks that lie under the query's prefix and behind its `after`.
    fn slices<'a>(&'a self, query: &'a ListQuery) -> impl Iterator<Item = &'a [Entry]> {
        self.chunks.iter().map(move |chunk| {
            let lo = chunk.partition_point(|e| match query.after.as_deref() {
                Some(after) if after >= query.prefix.as_str() => &*e.key <= after,
                _ => &*e.key < query.prefix.as_str(),
            });
            let hi = chunk.partition_point(|e| not_behind(&e.key, &query.prefix));
            chunk.get(lo..hi).unwrap_or_default()
        })
    }
    pub fn page(&self, query: &ListQuery) -> Page {
        let total: usize = self.slices(query).map(<[Entry]>::len).sum();
        let keep = if query.limit == 0 { total } else { query.limit.min(total) };
        let mut entries = Vec::with_capacity(keep);
        for slice in self.slices(query) {
            let take = slice.len().min(keep - entries.len());
            entries.extend_from_slice(&slice[..take]);
        }
        Page { entries, revision: self.revision, more: total > keep, remaining: total - keep }
    }
    /// All entries of the query, whatever its limit.
    pub fn entries<'a>(&'a self, query: &'a ListQuery) -> impl Iterator<Item = &'a Entry> {
        self.slices(query).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(key: &str, revision: u64) -> Entry {
        Entry { key: key.into(), bytes: Bytes::new(), revision: Revision(revision), at: 0, row: Arc::default() }
    }
    fn keys(page: &Page) -> Vec<(String, u64)> {
        page.entries.iter().map(|e| (e.key.to_string(), e.revision.0)).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u16),
        Remove(u16),
        Hold,
    }
    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![8 => (0..900u16).prop_map(Step::Put), 3 => (0..900u16).prop_map(Step::Remove), 1 => Just(Step::Hold)]
    }
    fn name(n: u16) -> String {
        format!("{}/{}/{n:03}", ["nodes", "pods", "pods.x"][n as usize % 3], ["", "a", "b"][n as usize / 300])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Behaves as a sorted map; snapshots keep what they saw.
        #[test]
        fn is_a_sorted_map(steps in proptest::collection::vec(step(), 0..1500), limit in 0usize..200, after in 0..900u16) {
            let (mut present, mut model) = (Present::default(), BTreeMap::new());
            let mut held: Vec<(Snapshot, Vec<(String, u64)>)> = Vec::new();
            let everything = ListQuery::default();
            for (i, step) in steps.iter().enumerate() {
                match step {
                    Step::Put(n) => {
                        present.put(entry(&name(*n), i as u64));
                        model.insert(name(*n), i as u64);
                    }
                    Step::Remove(n) => prop_assert_eq!(present.remove(&name(*n)).map(|e| e.revision.0), model.remove(&name(*n))),
                    Step::Hold if held.len() < 4 => {
                        let then = model.iter().map(|(k, v)| (k.clone(), *v)).collect();
                        held.push((present.snapshot("", None, Revision(i as u64)), then));
                    }
                    Step::Hold => {}
                }
                prop_assert_eq!(present.len(), model.len());
            }
            for (snapshot, then) in &held {
                prop_assert_eq!(&keys(&snapshot.page(&everything)), then);
            }
            let sorted = Present::from_sorted(model.iter().map(|(k, v)| entry(k, *v)).collect());
            for present in [&present, &sorted] {
                for prefix in ["", "nodes/", "pods/", "pods/a/", "pods.x/b/", "q/"] {
                    let query = ListQuery { prefix: prefix.into(), after: Some(name(after)), limit };
                    let page = present.snapshot(prefix, query.after.as_deref(), Revision(1)).page(&query);
                    let mut expected: Vec<_> = model.iter().filter(|(k, _)| k.starts_with(prefix) && **k > name(after)).map(|(k, v)| (k.clone(), *v)).collect();
                    let left = if limit == 0 { 0 } else { expected.len().saturating_sub(limit) };
                    expected.truncate(expected.len() - left);
                    prop_assert_eq!(keys(&page), expected);
                    prop_assert_eq!((page.remaining, page.more), (left, left > 0));
                }
                for (k, v) in &model {
                    prop_assert_eq!(present.get(k).map(|e| e.revision.0), Some(*v));
                }
            }
        }
    }
}
