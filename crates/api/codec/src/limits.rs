//! Limits of every decoder of outside bytes.

/// Deepest nesting of objects and lists. Readers of stored bytes (skiff_json) stop at 128; the room between is for
/// the list and the watch event around an object.
pub const MAX_DEPTH: usize = 120;

/// Largest body that is decoded, in bytes; upstream's limit of a write is the same.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// Largest YAML text once its aliases are expanded, as JSON bytes.
pub const MAX_YAML_EXPANDED: usize = 2 * MAX_BODY;
