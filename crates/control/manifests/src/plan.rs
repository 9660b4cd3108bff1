//! What to prune, pure.
use crate::Document;
use serde::{Deserialize, Serialize};

/// Which object, apart from its content and version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    pub api_version: String,
    pub kind: String,
    #[serde(default)]
    pub namespace: String,
    pub name: String,
}

impl From<&Document> for Identity {
    fn from(d: &Document) -> Self {
        Self { api_version: d.api_version.clone(), kind: d.kind.clone(), namespace: d.namespace.clone(), name: d.name.clone() }
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(g, _)| g)
}

/// What was applied before and is not wanted any more, the last first. Another version of the same group is the same
/// object.
pub fn stale(before: &[Identity], wanted: &[Identity]) -> Vec<Identity> {
    let same =
        |a: &Identity, b: &Identity| group(&a.api_version) == group(&b.api_version) && a.kind == b.kind && a.namespace == b.namespace && a.name == b.name;
    before.iter().rev().filter(|b| !wanted.iter().any(|w| same(w, b))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    fn id(api_version: &str, name: &str) -> Identity {
        Identity { api_version: api_version.into(), kind: "K".into(), namespace: "n".into(), name: name.into() }
    }
    #[test]
    fn only_what_is_gone_is_stale() {
        let before = [id("g/v1", "a"), id("g/v1", "b"), id("v1", "a")];
        assert_eq!(stale(&before, &[id("g/v2", "a")]), [id("v1", "a"), id("g/v1", "b")]);
        assert!(stale(&before, &before).is_empty());
    }
}
