//! Rows and the indexes over them.
use crate::{Change, Row};
use skiff_meta::{LabelSelector, Revision};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

pub(crate) type IndexFn = Box<dyn Fn(&Row) -> Vec<String> + Send + Sync>;

struct Index {
    name: &'static str,
    of: IndexFn,
    keys: HashMap<String, BTreeSet<Arc<str>>>,
}

impl Index {
    fn put(&mut self, row: &Row) {
        for value in (self.of)(row) {
            self.keys.entry(value).or_default().insert(row.key.clone());
        }
    }
    fn drop(&mut self, row: &Row) {
        for value in (self.of)(row) {
            if let Some(set) = self.keys.get_mut(&value) {
                set.remove(&row.key);
                if set.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
    }
}

/// The present state of a selection.
#[derive(Default)]
pub(crate) struct Store {
    rows: BTreeMap<Arc<str>, Arc<Row>>,
    indexes: Vec<Index>,
    /// What the watch has reached.
    pub(crate) revision: Revision,
}

impl Store {
    /// Built over what is there; the same name again changes nothing.
    pub(crate) fn add_index(&mut self, name: &'static str, of: IndexFn) {
        if self.indexes.iter().any(|i| i.name == name) {
            return;
        }
        let mut index = Index { name, of, keys: HashMap::new() };
        self.rows.values().for_each(|r| index.put(r));
        self.indexes.push(index);
    }
    /// Puts a row or, with None, removes it. None when nothing changed.
    pub(crate) fn set(&mut self, key: &str, new: Option<Arc<Row>>) -> Option<Change> {
        let old = match &new {
            Some(row) => self.rows.insert(row.key.clone(), row.clone()),
            None => self.rows.remove(key),
        };
        for index in &mut self.indexes {
            old.iter().for_each(|r| index.drop(r));
            new.iter().for_each(|r| index.put(r));
        }
        Change::between(old, new)
    }
    /// Takes the whole state of a list; returns the difference. An object that was replaced by one of the same name
    /// is told as a deletion and an addition.
    pub(crate) fn replace(&mut self, rows: Vec<Row>) -> Vec<Change> {
        let mut changes = Vec::new();
        let kept: BTreeSet<Arc<str>> = rows.iter().map(|r| r.key.clone()).collect();
        let gone: Vec<Arc<str>> = self.rows.keys().filter(|k| !kept.contains(*k)).cloned().collect();
        for key in gone {
            changes.extend(self.set(&key, None));
        }
        for row in rows {
            changes.extend(self.put(row));
        }
        changes
    }
    /// Puts a row; the same revision again is no change, another uid is a deletion and an addition.
    pub(crate) fn put(&mut self, row: Row) -> Vec<Change> {
        let mut changes = Vec::new();
        let key = row.key.clone();
        match self.rows.get(&key) {
            Some(old) if old.uid == row.uid && old.revision == row.revision => return changes,
            Some(old) if old.uid != row.uid => changes.extend(self.set(&key, None)),
            _ => {}
        }
        changes.extend(self.set(&key, Some(Arc::new(row))));
        changes
    }
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Row>> {
        self.rows.get(key).cloned()
    }
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
    /// In the order of their keys; an empty namespace means all.
    pub(crate) fn list(&self, namespace: &str, selector: &LabelSelector) -> Vec<Arc<Row>> {
        let prefix = format!("{namespace}/");
        let from: Bound<&str> = if namespace.is_empty() { Bound::Unbounded } else { Bound::Included(&prefix) };
        self.rows
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(k, _)| namespace.is_empty() || k.starts_with(&prefix))
            .filter(|(_, r)| r.selected_by(selector))
            .map(|(_, r)| r.clone())
            .collect()
    }
    pub(crate) fn indexed(&self, name: &str, value: &str) -> Vec<Arc<Row>> {
        let index = self.indexes.iter().find(|i| i.name == name);
        let keys = index.and_then(|i| i.keys.get(value));
        keys.into_iter().flatten().filter_map(|k| self.get(k)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChangeKind::{Added, Deleted, Modified};
    use bytes::Bytes;

    fn row(name: &str, uid: &str, rv: u64) -> Row {
        Row::of(Bytes::from(format!(
            r#"{{"metadata":{{"namespace":"n","name":"{name}","uid":"{uid}","resourceVersion":"{rv}","labels":{{"a":"{uid}"}},"ownerReferences":[{{"uid":"o{uid}","controller":true}}]}}}}"#
        )))
        .unwrap()
    }
    fn kinds(changes: Vec<Change>) -> Vec<(crate::ChangeKind, String)> {
        changes.iter().map(|c| (c.kind, c.key().to_owned())).collect()
    }

    #[test]
    fn replace_tells_the_difference() {
        let mut s = Store::default();
        s.add_index("owner", Box::new(|r| r.owners.iter().map(|o| o.uid.to_string()).collect()));
        assert_eq!(kinds(s.replace(vec![row("x", "1", 1), row("y", "2", 2)])), [(Added, "n/x".into()), (Added, "n/y".into())]);
        assert_eq!(s.indexed("owner", "o1").len(), 1);
        let after = kinds(s.replace(vec![row("y", "3", 4), row("z", "4", 5)]));
        assert_eq!(after, [(Deleted, "n/x".into()), (Deleted, "n/y".into()), (Added, "n/y".into()), (Added, "n/z".into())]);
        assert!(s.indexed("owner", "o1").is_empty() && s.indexed("owner", "o2").is_empty());
        assert!(s.put(row("z", "4", 5)).is_empty());
        assert_eq!(kinds(s.put(row("z", "4", 6))), [(Modified, "n/z".into())]);
        assert_eq!(s.list("n", &LabelSelector::parse("a=4").unwrap()).len(), 1);
        assert!(s.list("m", &LabelSelector::everything()).is_empty());
    }
}
