//! Objects against their schema: what is wrong with them, in upstream's words.
use crate::{rows::Compiled, schema};
use serde_json::Value;
use skiff_meta::Cause;

/// Errors of an object, or of a change of it through the object's endpoint or a subresource.
pub fn check(c: &Compiled, _subresource: &str, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    if old.is_some_and(|o| !schema::check_lists(o, &c.schema).is_empty()) {
        return Vec::new();
    }
    schema::check_lists(new, &c.schema)
}
