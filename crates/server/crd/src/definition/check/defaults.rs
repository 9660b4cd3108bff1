//! Defaults of a schema must be what the schema itself allows.
use crate::{
    cel::Rules,
    schema::{self, Schema},
    value::{check_embedded, check_schema, type_of},
};
use skiff_json::Value;
use skiff_meta::Cause;
use skiff_validation::Field;

/// Checks every default of a structural schema.
pub fn check(s: &Field<'_>) {
    node(s, &Schema::read(s.value()), true);
}

fn node(f: &Field<'_>, s: &Schema, root: bool) {
    let object = root || s.embedded;
    if let Some(d) = &s.default {
        unheard_of(f, d);
        one(&f.at("default"), d, s, object);
    }
    if let Some(items) = &s.items {
        node(&f.at("items"), items, false);
    }
    for (name, p) in &s.properties {
        // Metadata's defaults are forbidden at the root, and elsewhere are ObjectMeta's to judge.
        if !(object && matches!(name.as_str(), "metadata" | "kind" | "apiVersion")) {
            node(&f.at("properties").key(name.clone()), p, false);
        }
    }
}

/// Nothing is of a type that there is not.
fn unheard_of(f: &Field<'_>, d: &Value) {
    let (named, found) = (f.at("type").str(), type_of(d));
    if !named.is_empty() && schema::Type::of(named).is_none() {
        let message = format!("Invalid value: {found:?}:  in body must be of type {named}: {found:?}");
        f.tell_cause(Cause { reason: "FieldValueTypeInvalid".into(), message, field: f.at("default").path() });
    }
}

fn one(f: &Field<'_>, d: &Value, s: &Schema, object: bool) {
    let mut pruned = d.clone();
    schema::prune(&mut pruned, s, object);
    if pruned != *d {
        f.invalid(f.value(), "must not have unknown fields");
    }
    let base = f.path();
    let mut causes = check_embedded(d, s, &base, object);
    if causes.is_empty() {
        causes = check_schema(d, s, None, "").failures.into_iter().map(|e| e.cause(&base)).collect();
    }
    if causes.is_empty() {
        let rules = Rules::compile(s);
        // As something that stays, and as something new.
        causes = rules.check(d, s, Some(d), &base, s.embedded);
        if causes.is_empty() {
            causes = rules.check(d, s, None, &base, s.embedded);
        }
    }
    for c in causes {
        f.tell_cause(c);
    }
}
