//! What the pipeline asks of a kind's schema.
//!
//! Built-in kinds answer out of the tables of `skiff-schema`; custom resources bring their own shape with their
//! definition. The pipeline does not know which.
use serde_json::Value;
use skiff_meta::{Cause, GroupVersionKind, Status};
use std::sync::Arc;

/// A body after decoding.
pub struct Decoded {
    pub value: Value,
    /// Unknown and duplicate fields, as strict decoding words them.
    pub strict: Vec<String>,
}

pub trait Shape: Send + Sync {
    /// Reads a body of `media` as `kind` the way upstream's decoder does; unknown fields are dropped (or kept, where the
    /// schema preserves them). The error is the client's 400 or 415.
    fn decode(&self, kind: &GroupVersionKind, media: &str, body: &[u8]) -> Result<Decoded, Status>;
    /// The same for a value that is JSON already (the outcome of a patch).
    fn decode_value(&self, kind: &GroupVersionKind, value: Value) -> Result<Decoded, Status>;
    /// Fills in defaults.
    fn default(&self, kind: &GroupVersionKind, value: &mut Value);
    /// Orders fields and drops zeros as canonical JSON has it.
    fn canonical(&self, kind: &GroupVersionKind, value: &mut Value);
    /// Errors of the content of an object or of a change of it; metadata is checked elsewhere.
    fn validate(&self, kind: &GroupVersionKind, new: &Value, old: Option<&Value>) -> Vec<Cause>;
    /// Whether strategic merge patches can be read; custom resources answer 415.
    fn strategic(&self) -> bool;
}

/// The shape of every built-in kind.
pub fn builtin() -> Arc<dyn Shape> {
    static SHAPE: std::sync::LazyLock<Arc<dyn Shape>> = std::sync::LazyLock::new(|| Arc::new(Builtin));
    SHAPE.clone()
}

struct Builtin;

impl Shape for Builtin {
    fn decode(&self, kind: &GroupVersionKind, media: &str, body: &[u8]) -> Result<Decoded, Status> {
        let _ = media;
        let value = serde_json::from_slice(body).map_err(|e| Status::bad_request(format!("{} in version {:?} cannot be handled as a {}: {e}", kind.kind, kind.version, kind.kind)))?;
        self.decode_value(kind, value)
    }
    fn decode_value(&self, _kind: &GroupVersionKind, value: Value) -> Result<Decoded, Status> {
        Ok(Decoded { value, strict: Vec::new() })
    }
    fn default(&self, _kind: &GroupVersionKind, _value: &mut Value) {}
    fn canonical(&self, _kind: &GroupVersionKind, _value: &mut Value) {}
    fn validate(&self, _kind: &GroupVersionKind, _new: &Value, _old: Option<&Value>) -> Vec<Cause> {
        Vec::new()
    }
    fn strategic(&self) -> bool {
        true
    }
}
