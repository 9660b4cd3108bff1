//! Dropping what a schema does not know.
use super::{Additional, Schema};
use skiff_json::Value;
use std::fmt::Write;

const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops unknown fields of a whole object (`root`) or of a part of one; gives their paths in alphabetical order.
pub fn prune(v: &mut Value, schema: &Schema, root: bool) -> Vec<String> {
    let mut p = Pruner { path: String::new(), unknown: Vec::new() };
    p.prune(v, Some(schema), root || schema.embedded);
    p.unknown.sort();
    p.unknown
}

struct Pruner {
    path: String,
    unknown: Vec<String>,
}

impl Pruner {
    fn note(&mut self, key: &str) {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.unknown.push(format!("{}{dot}{key}", self.path));
    }
    fn in_key(&mut self, key: &str, f: impl FnOnce(&mut Self)) {
        let mark = self.path.len();
        if mark > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        f(self);
        self.path.truncate(mark);
    }
    fn in_index(&mut self, i: usize, f: impl FnOnce(&mut Self)) {
        let mark = self.path.len();
        let _ = write!(self.path, "[{i}]");
        f(self);
        self.path.truncate(mark);
    }

    fn prune(&mut self, v: &mut Value, schema: Option<&Schema>, embedded: bool) {
        if let Some(s) = schema.filter(|s| s.preserve_unknown) {
            return self.skip(v, s, embedded);
        }
        match v {
            Value::Object(m) => {
                m.retain(|k, v| {
                    if embedded && META.contains(&k.as_str()) {
                        return true;
                    }
                    match schema.map(|s| (s.properties.get(k.as_str()), &s.additional)) {
                        Some((Some(p), _)) => self.in_key(k, |me| me.prune(v, Some(p), p.embedded)),
                        Some((None, Additional::Schema(a))) => self.in_key(k, |me| me.prune(v, Some(a), a.embedded)),
                        Some((None, Additional::Bool(_))) => self.in_key(k, |me| me.prune(v, None, false)),
                        _ => {
                            if !META.contains(&k.as_str()) || !self.path.is_empty() {
                                self.note(k);
                            }
                            return false;
                        }
                    }
                    true
                });
            }
            Value::Array(items) => {
                let below = schema.and_then(|s| s.items.as_deref());
                for (i, v) in items.iter_mut().enumerate() {
                    self.in_index(i, |me| me.prune(v, below, below.is_some_and(|s| s.embedded)));
                }
            }
            _ => {}
        }
    }

    /// Unknown fields stay here; below known fields pruning goes on.
    fn skip(&mut self, v: &mut Value, s: &Schema, embedded: bool) {
        match v {
            Value::Object(m) => {
                for (k, v) in m.iter_mut() {
                    if embedded && META.contains(&k.as_str()) {
                        continue;
                    }
                    if let Some(p) = s.properties.get(k.as_str()).or_else(|| s.additional_schema()) {
                        self.in_key(k, |me| me.prune(v, Some(p), p.embedded));
                    }
                }
            }
            Value::Array(items) => {
                let Some(below) = s.items.as_deref() else { return };
                for (i, v) in items.iter_mut().enumerate() {
                    self.in_index(i, |me| me.skip(v, below, below.embedded));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn unknown_fields_go() {
        let schema = Schema::read(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a": {"type": "string"}, "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "l": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "string"}}}}}},
            "m": {"type": "object", "additionalProperties": {"type": "string"}}}}));
        let mut v = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n"}, "x": 1, "m": {"k": "v"},
            "spec": {"a": "1", "b": 2, "free": {"y": 1}, "l": [{"n": "1", "o": 2}]}});
        assert_eq!(prune(&mut v, &schema, true), ["spec.b", "spec.l[0].o", "x"]);
        assert_eq!(
            v,
            json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n"}, "m": {"k": "v"},
            "spec": {"a": "1", "free": {"y": 1}, "l": [{"n": "1"}]}})
        );
    }
    /// With a move of all that stay for each that goes this would not end within any patience.
    #[test]
    fn very_many_go_at_once() {
        let schema = Schema::read(&json!({"type": "object", "properties": {"spec": {"type": "object"}}}));
        let members: skiff_json::Map = (0..300_000).map(|i| (format!("k{i}"), json!(1))).collect();
        let mut v = json!({"spec": members});
        assert_eq!(prune(&mut v, &schema, true).len(), 300_000);
        assert_eq!(v, json!({"spec": {}}));
    }
}
