//! The table of resources: a row each, built in or registered by a CustomResourceDefinition.
//!
//! Lookup goes by group and plural. The table is swapped whole when a custom row comes or goes, so that readers never
//! wait. It does not serve anything: the `read` and `write` modules do, over rows.

mod apps;
pub(crate) mod build;
mod conversions;
mod converted;
mod core;
mod custom;
pub(crate) mod fields;
mod metrics;
mod network;
mod policies;
mod resource;
mod storage;

pub use build::{ALL, READ_WRITE, cluster, namespaced};
pub use converted::Converted;
pub use custom::{Converter, Custom};
pub use resource::{Computed, Convert, Field, Read, Resource, Role, ScalePaths, Str, Subresource};

use arc_swap::ArcSwap;
use std::{collections::BTreeMap, sync::Arc};

/// All rows, by group and plural.
#[derive(Default, Clone)]
pub struct Rows {
    by_name: BTreeMap<(String, String), Arc<Resource>>,
    /// Groups in the order that discovery lists them.
    order: Vec<String>,
    /// Raised by every change, for discovery's ETag.
    pub version: u64,
}

impl Rows {
    pub fn get(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        // A borrowed pair cannot look up a pair of owned strings without an allocation; these are short.
        self.by_name.get(&(group.to_owned(), plural.to_owned()))
    }
    pub fn groups(&self) -> &[String] {
        &self.order
    }
    pub fn of_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.by_name.range((group.to_owned(), String::new())..).take_while(move |((g, _), _)| g == group).map(|(_, r)| r)
    }
    /// Rows that serve a version, each as that version has it.
    pub fn of_version<'a>(&'a self, group: &'a str, version: &'a str) -> impl Iterator<Item = Arc<Resource>> + 'a {
        self.of_group(group).filter(move |r| r.serves(version)).map(move |r| r.at(version))
    }
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_name.values()
    }
    /// The row that owns the keys that start with `storage`.
    pub fn of_storage(&self, storage: &str) -> Option<&Arc<Resource>> {
        let (plural, group) = storage.split_once('.').unwrap_or((storage, ""));
        self.get(group, plural)
    }
    fn insert(&mut self, row: Arc<Resource>) {
        if !self.order.iter().any(|g| *g == row.group) {
            // Behind the built-in groups in alphabetical order.
            let at = self.order.iter().position(|g| !GROUP_ORDER.contains(&g.as_str()) && g.as_str() > &*row.group);
            self.order.insert(at.unwrap_or(self.order.len()), row.group.to_string());
        }
        self.by_name.insert((row.group.to_string(), row.plural.to_string()), row);
    }
    fn remove(&mut self, group: &str, plural: &str) {
        self.by_name.remove(&(group.to_owned(), plural.to_owned()));
        if !GROUP_ORDER.contains(&group) && self.of_group(group).next().is_none() {
            self.order.retain(|g| g != group);
        }
    }
}

/// The table, changed while it is read.
pub struct Table {
    rows: ArcSwap<Rows>,
}

impl Table {
    /// Every built-in resource of upstream's 1.37 discovery.
    pub fn builtin() -> Self {
        let mut rows = Rows::default();
        for group in GROUP_ORDER {
            rows.order.push((*group).to_owned());
        }
        let all = [core::rows(), apps::rows(), network::rows(), policies::rows(), storage::rows()];
        for row in all.into_iter().flatten() {
            rows.insert(Arc::new(row));
        }
        Self { rows: ArcSwap::from_pointee(rows) }
    }
    pub fn rows(&self) -> Arc<Rows> {
        self.rows.load_full()
    }
    pub fn get(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.rows.load().get(group, plural).cloned()
    }
    /// The row as `version` has it; None when the version is not served.
    pub fn at(&self, group: &str, plural: &str, version: &str) -> Option<Arc<Resource>> {
        self.rows.load().get(group, plural).filter(|r| r.serves(version)).map(|r| r.at(version))
    }
    /// Adds or replaces rows and takes others away, in one step. Built-in rows are the caller's to spare.
    pub fn change(&self, add: Vec<Arc<Resource>>, remove: &[(String, String)]) {
        self.rows.rcu(|old| {
            let mut rows = Rows::clone(old);
            for (group, plural) in remove {
                rows.remove(group, plural);
            }
            for row in &add {
                rows.insert(row.clone());
            }
            rows.version += 1;
            rows
        });
    }
}

/// The order of groups in upstream's discovery; custom groups follow.
const GROUP_ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "storagemigration.k8s.io",
];

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_table_has_upstreams_rows() {
        let rows = Table::builtin().rows();
        assert_eq!(rows.all().count(), 71);
        assert_eq!(rows.groups().len(), 22);
        let pods = rows.get("", "pods").unwrap();
        assert_eq!((pods.key("a", "b").as_str(), pods.prefix("").as_str()), ("pods/a/b", "pods/"));
        assert_eq!(rows.get("", "nodes").unwrap().key("x", "n"), "nodes//n");
        assert_eq!(rows.of_storage("deployments.apps").unwrap().kind, "Deployment");
    }
}
