//! Fields that selectors may name.
use crate::schema::{Schema, Type, field_path};
use skiff_json::Value;
use skiff_validation::Field;

const MAX: usize = 8;

pub fn check(fields: &Field<'_>, schema: &Value) {
    if fields.list().is_empty() {
        return;
    }
    if !schema.is_object() {
        return fields.invalid("", "may only be set when validations.schema is included");
    }
    let s = Schema::read(schema);
    let mut seen: Vec<&str> = Vec::new();
    for f in fields.items() {
        let path = f.at("jsonPath");
        if path.str().is_empty() {
            path.required("");
            continue;
        }
        let found = match field_path(path.str(), &s, false) {
            Ok(found) => found,
            Err(why) => {
                path.invalid(path.str(), &format!("is an invalid path: {why}"));
                continue;
            }
        };
        if path.str().starts_with(".metadata.") || path.str() == ".metadata" {
            path.invalid(path.str(), "must not point to fields in metadata");
        }
        if !matches!(found.schema.and_then(|s| s.kind), Some(Type::String | Type::Boolean | Type::Integer)) {
            path.invalid(path.str(), "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
        }
        if seen.contains(&path.str()) {
            path.duplicate(path.str());
        } else {
            seen.push(path.str());
        }
    }
    if seen.len() > MAX {
        fields.too_many(seen.len(), MAX);
    }
}
