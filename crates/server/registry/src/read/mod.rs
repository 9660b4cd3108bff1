//! Reads: one object, pages of a list, watches. All hand on the store's own bytes where the version asked for is the
//! stored one.

pub mod get;
pub mod list;
pub mod options;
pub mod token;
pub mod watch;

use crate::{body, registry::Registry, table::Resource};
use bytes::Bytes;
use serde_json::Value;
use skiff_meta::{GroupVersion, Revision, Status};
use std::time::Duration;

/// How long a read waits for a revision from the future, as upstream's cache does.
const FRESH: Duration = Duration::from_secs(3);

/// Stored bytes in the version that is asked for.
pub(crate) fn view(row: &Resource, version: &str, bytes: &Bytes, revision: Revision) -> Result<Bytes, Status> {
    if !row.converts(version) {
        return Ok(bytes.clone());
    }
    let mut v: Value = serde_json::from_slice(bytes).map_err(|e| Status::internal(format!("decode stored {}: {e}", row.kind)))?;
    let to = GroupVersion::new(row.group.clone(), version.to_owned());
    row.convert(&mut v, &row.stored, &to);
    row.shape.canonical(&row.gvk(version), &mut v);
    Ok(body::encode(&v).stamped(revision))
}

impl Registry {
    /// Waits for `asked` to be visible; 504 when it does not come.
    pub(crate) async fn await_revision(&self, asked: Revision) -> Result<(), Status> {
        if asked > self.store.revision() && tokio::time::timeout(FRESH, self.store.wait_for(asked)).await.is_err() {
            return Err(Status::revision_too_large(asked.0, self.store.revision().0));
        }
        Ok(())
    }
}
