//! The index row of stored bytes: labels, selectable fields, owners.
use crate::{table::Table, value};
use serde_json::Value;
use skiff_meta::Uid;
use skiff_store::{Indexer, Row};
use std::sync::Arc;

/// Gives the store its rows. Made before the store, which is made before the registry.
pub struct RowIndexer {
    table: Arc<Table>,
}

impl RowIndexer {
    pub fn new(table: Arc<Table>) -> Self {
        Self { table }
    }
}

impl Indexer for RowIndexer {
    fn row(&self, key: &str, bytes: &[u8]) -> Row {
        let Ok(v) = serde_json::from_slice::<Value>(bytes) else { return Row::default() };
        let storage = key.split('/').next().unwrap_or_default();
        let fields = match self.table.rows().of_storage(storage) {
            Some(r) => r.fields.iter().map(|f| (f.path, Arc::from((f.value)(&v)))).collect(),
            None => Box::default(),
        };
        row_of(&v, fields)
    }
}

fn row_of(v: &Value, fields: Box<[(&'static str, Arc<str>)]>) -> Row {
    let mut labels: Vec<(Arc<str>, Arc<str>)> = value::map(v, "metadata.labels")
        .into_iter()
        .flatten()
        .map(|(k, v)| (Arc::from(k.as_str()), Arc::from(v.as_str().unwrap_or_default())))
        .collect();
    labels.sort();
    Row {
        uid: Uid::from(value::text(v, "metadata.uid")),
        labels: labels.into(),
        fields,
        owners: value::list(v, "metadata.ownerReferences").iter().map(|o| Uid::from(value::text(o, "uid"))).collect(),
        deleting: value::at(v, "metadata.deletionTimestamp").is_some(),
    }
}
