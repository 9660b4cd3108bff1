//! The shape of definitions themselves: that of any built-in kind, with the rules of [`super::check`].
use super::check::{check, check_status, unknown_formats};
use skiff_json::Value;
use skiff_meta::{Cause, GroupVersionKind, Status, value::list};
use skiff_registry::{
    shape::{Decoded, Shape, builtin},
    table::{Resource, Table},
};
use std::{collections::BTreeSet, sync::Arc};

struct DefinitionShape(Arc<dyn Shape>);

/// Puts the rules of definitions into the table.
pub fn install(table: &Table) {
    if let Some(row) = table.get(super::GROUP, super::PLURAL) {
        let row = Resource { shape: Arc::new(DefinitionShape(builtin())), ..Resource::clone(&row) };
        table.change(vec![Arc::new(row)], &[]);
    }
}

impl Shape for DefinitionShape {
    fn decode(&self, kind: &GroupVersionKind, media: &str, body: &[u8]) -> Result<Decoded, Status> {
        self.0.decode(kind, media, body)
    }
    fn decode_value(&self, kind: &GroupVersionKind, value: Value) -> Result<Decoded, Status> {
        self.0.decode_value(kind, value)
    }
    fn default(&self, kind: &GroupVersionKind, value: &mut Value, now: &str) {
        self.0.default(kind, value, now);
    }
    fn canonical(&self, kind: &GroupVersionKind, value: &mut Value) {
        self.0.canonical(kind, value);
    }
    fn empty(&self, kind: &GroupVersionKind) -> Value {
        self.0.empty(kind)
    }
    fn validate(&self, _kind: &GroupVersionKind, subresource: &str, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        // What is on its way out is not held up by rules that are younger than it.
        let ending = old.is_some_and(|o| !o["metadata"]["deletionTimestamp"].is_null() && o["spec"] == new["spec"]);
        match subresource {
            "" if !ending => check(new, old),
            "status" => check_status(new),
            _ => Vec::new(),
        }
    }
    fn table(&self, kind: &GroupVersionKind) -> Option<&'static skiff_schema::Type> {
        self.0.table(kind)
    }
    fn merging(&self, kind: &GroupVersionKind) -> skiff_apply::Shape<'_> {
        self.0.merging(kind)
    }
    fn warnings(&self, _kind: &GroupVersionKind, _subresource: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
        let known: BTreeSet<String> = old.map(findings).unwrap_or_default().into_iter().collect();
        findings(new).into_iter().filter(|w| !known.contains(w)).collect()
    }
}

/// What a client is told about the schemas of a definition.
fn findings(v: &Value) -> Vec<String> {
    let (mut formats, mut sets) = (Vec::new(), BTreeSet::new());
    for version in list(v, "spec.versions") {
        let schema = &version["schema"]["openAPIV3Schema"];
        unknown_formats(schema, &mut formats);
        odd_sets(schema, &mut sets);
    }
    formats.iter().map(|f| format!("unrecognized format {f:?}")).chain(sets).collect()
}

fn odd_sets(s: &Value, found: &mut BTreeSet<String>) {
    match s {
        Value::Object(m) => {
            let kind = s["items"]["type"].as_str().unwrap_or_default();
            if s["x-kubernetes-list-type"] == "set" && matches!(kind, "object" | "array") {
                found.insert(format!("x-kubernetes-list-type: set for items of type {kind:?} is not supported by server-side apply or CEL validation rules"));
            }
            m.iter().filter(|(k, _)| !matches!(k.as_str(), "default" | "enum" | "example")).for_each(|(_, v)| odd_sets(v, found));
        }
        Value::Array(all) => all.iter().for_each(|v| odd_sets(v, found)),
        _ => {}
    }
}
