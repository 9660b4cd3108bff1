//! The store's present state as admission and policy read it.
use bytes::Bytes;
use skiff_policy::Lookup;
use skiff_store::{ListQuery, Store};
use std::sync::Arc;

/// Reads of the present state, straight from memory.
pub struct StoreLookup(pub Arc<dyn Store>);

impl Lookup for StoreLookup {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Bytes> {
        self.0.get(&format!("{resource}/{namespace}/{name}")).map(|e| e.bytes)
    }
    fn list(&self, resource: &str, namespace: &str) -> Vec<Bytes> {
        let prefix = if namespace.is_empty() { format!("{resource}/") } else { format!("{resource}/{namespace}/") };
        self.0.list(&ListQuery { prefix, ..ListQuery::default() }).entries.into_iter().map(|e| e.bytes).collect()
    }
}
