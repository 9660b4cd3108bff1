//! APIServices: what this server itself serves is available from the first.
use super::Prepare;
use crate::value::{at, set};
use skiff_json::{Value, json};

pub fn prepare_create(v: &mut Value, p: &Prepare<'_>) {
    let local = json!({"type": "Available", "status": "True", "lastTransitionTime": p.now.to_string(), "reason": "Local", "message": "Local APIServices are always available"});
    let status = if at(v, "spec.service").is_none() { json!({"conditions": [local]}) } else { json!({}) };
    set(v, "status", status);
}
