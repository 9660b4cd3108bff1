//! Managed fields: who set what, and server-side apply.
use super::options::WriteOptions;
use crate::registry::{Context, Registry};
use serde_json::Value;
use skiff_meta::Status;
use skiff_store::Entry;

impl Registry {
    /// Records what a create or an update set; `v` and `old` are of the path's version and the stored one.
    pub(crate) fn track_update(&self, _ctx: &Context<'_>, _options: &WriteOptions, _v: &mut Value, _old: Option<&Value>) {}

    /// The object that an applied configuration makes of the stored one.
    pub(crate) fn applied(&self, _ctx: &Context<'_>, _options: &WriteOptions, _entry: Option<&Entry>) -> Result<Value, Status> {
        Err(Status::internal("server-side apply is not there yet"))
    }
}
