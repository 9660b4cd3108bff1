//! ControllerRevisions: the history of templates that StatefulSets and DaemonSets keep.

mod shell;

pub(crate) use shell::Revisions;

use crate::view::{Meta, Selector};
use serde::Deserialize;
use skiff_json::{Value, json};

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Revision {
    pub metadata: Meta,
    pub revision: i64,
    pub data: Value,
}

impl Revision {
    /// The template as it was then.
    pub fn template(&self) -> Value {
        let mut t = self.data["spec"]["template"].clone();
        if let Some(m) = t.as_object_mut() {
            m.shift_remove("$patch");
        }
        t
    }
    fn same(&self, data: &Value) -> bool {
        plain(&self.data) == plain(data)
    }
}

/// What a revision keeps of a template: a patch that puts it back. Keys are in order, as Go has them: clients compare the bytes.
pub fn data(template: &Value) -> Value {
    let mut t = template.clone();
    t["$patch"] = "replace".into();
    t.sort_all_objects();
    json!({"spec": {"template": t}})
}

/// Without the empty metadata that Go writes and others don't.
fn plain(data: &Value) -> Value {
    let mut d = data.clone();
    if let Some(meta) = d.pointer_mut("/spec/template/metadata").and_then(Value::as_object_mut) {
        meta.retain(|_, v| !v.is_null());
    }
    d
}

/// What to do so that the newest revision is the wanted one. Indexes are into `revisions` as sorted by [`sort`].
#[derive(Debug, PartialEq)]
pub enum Choice {
    Newest,
    /// An older one is wanted again: it gets this number.
    Renumber(usize, i64),
    /// With this number.
    Create(i64),
}

/// Oldest first.
pub fn sort(revisions: &mut [Revision]) {
    revisions.sort_by(|a, b| (a.revision, a.metadata.creation_timestamp, &a.metadata.name).cmp(&(b.revision, b.metadata.creation_timestamp, &b.metadata.name)));
}

pub fn choose(revisions: &[Revision], data: &Value) -> Choice {
    let next = revisions.last().map_or(1, |r| r.revision + 1);
    match revisions.iter().rposition(|r| r.same(data)) {
        Some(i) if i + 1 == revisions.len() => Choice::Newest,
        Some(i) => Choice::Renumber(i, next),
        None => Choice::Create(next),
    }
}

/// The oldest ones beyond `limit` that are not `live`.
pub fn surplus(revisions: &[Revision], live: impl Fn(&Revision) -> bool, limit: i64) -> Vec<&Revision> {
    let old: Vec<&Revision> = revisions.iter().filter(|r| !live(r)).collect();
    let n = usize::try_from(limit).map_or(0, |limit| old.len().saturating_sub(limit));
    old.into_iter().take(n).collect()
}

/// Who keeps a history.
pub(crate) struct Keeper<'a> {
    pub meta: &'a Meta,
    pub selector: &'a Selector,
    pub template: &'a Value,
    pub api_version: &'static str,
    pub kind: &'static str,
    /// Extra labels of a revision, by its hash.
    pub hash_label: &'static str,
    pub collisions: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(n: i64, image: &str) -> Revision {
        Revision { revision: n, data: data(&json!({"spec": {"image": image}})), ..Default::default() }
    }

    #[test]
    fn the_wanted_one_becomes_the_newest() {
        let all = [revision(1, "a"), revision(2, "b")];
        for (image, choice) in [("b", Choice::Newest), ("a", Choice::Renumber(0, 3)), ("c", Choice::Create(3))] {
            assert_eq!(choose(&all, &data(&json!({"spec": {"image": image}}))), choice);
        }
        assert_eq!(choose(&[], &data(&json!({}))), Choice::Create(1));
        assert_eq!(all[0].template(), json!({"spec": {"image": "a"}}));
    }
    #[test]
    fn data_is_in_order() {
        let data = data(&json!({"spec": {"b": [{"z": 1, "a": 2}], "a": 1}, "metadata": {}}));
        assert_eq!(data.to_string(), r#"{"spec":{"template":{"$patch":"replace","metadata":{},"spec":{"a":1,"b":[{"a":2,"z":1}]}}}}"#);
    }
    #[test]
    fn old_ones_go() {
        let all = [revision(1, "a"), revision(2, "b"), revision(3, "c")];
        let gone: Vec<i64> = surplus(&all, |r| r.revision == 1, 1).iter().map(|r| r.revision).collect();
        assert_eq!(gone, [2]);
        assert!(surplus(&all, |_| false, 10).is_empty());
    }
}
