//! An `openAPIV3Schema`, read once and kept compiled beside its row.
//!
//! The structural part (types, properties, extensions) and the validating part (bounds, patterns, junctors) are one tree
//! here; whether a schema is structural is the definition's question, not this module's.

mod coerce;
mod defaults;
mod lists;
mod path;
mod pattern;
mod prune;

pub use coerce::coerce;
pub use defaults::{apply as default, drop_nulls};
pub use lists::check as check_lists;
pub use path::{FieldPath, field_path};
pub use pattern::compile as pattern;
pub use prune::prune;

use regex::Regex;
use skiff_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub fn of(text: &str) -> Option<Self> {
        Some(match text {
            "object" => Type::Object,
            "array" => Type::Array,
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            _ => return None,
        })
    }
    pub fn name(self) -> &'static str {
        match self {
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
        }
    }
}

/// What `additionalProperties` says.
#[derive(Clone, Debug, Default)]
pub enum Additional {
    /// Nothing.
    #[default]
    Unset,
    Bool(bool),
    Schema(Box<Schema>),
}

/// A rule of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: String,
    pub field_path: String,
    pub optional_old_self: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub kind: Option<Type>,
    pub nullable: bool,
    pub format: String,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<u64>,
    pub min_length: Option<u64>,
    pub pattern: Option<(String, Regex)>,
    pub max_items: Option<u64>,
    pub min_items: Option<u64>,
    pub unique_items: bool,
    pub max_properties: Option<u64>,
    pub min_properties: Option<u64>,
    pub required: Vec<String>,
    pub values: Option<Vec<Value>>,
    pub items: Option<Box<Schema>>,
    pub properties: BTreeMap<String, Schema>,
    pub additional: Additional,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Box<Schema>>,
    pub default: Option<Value>,
    pub preserve_unknown: bool,
    pub embedded: bool,
    pub int_or_string: bool,
    pub list_type: ListType,
    pub list_keys: Vec<String>,
    pub atomic_map: bool,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    Map,
}

fn list(v: &Value, key: &str) -> Vec<Schema> {
    v.get(key).and_then(Value::as_array).into_iter().flatten().map(Schema::read).collect()
}

impl Schema {
    /// Reads a schema; what has not its type counts as absent. A pattern that does not compile matches everything: the
    /// definition's validation refuses it.
    pub fn read(v: &Value) -> Schema {
        let text = |k: &str| v.get(k).and_then(Value::as_str).unwrap_or_default();
        let flag = |k: &str| v.get(k).and_then(Value::as_bool).unwrap_or_default();
        let count = |k: &str| v.get(k).and_then(Value::as_u64);
        let number = |k: &str| v.get(k).and_then(Value::as_f64);
        let child = |k: &str| v.get(k).filter(|c| c.is_object()).map(|c| Box::new(Schema::read(c)));
        let texts = |k: &str| v.get(k).and_then(Value::as_array).into_iter().flatten().filter_map(|x| x.as_str().map(str::to_owned)).collect();
        let kind = Type::of(text("type"));
        Schema {
            kind,
            nullable: flag("nullable"),
            format: text("format").to_owned(),
            maximum: number("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            minimum: number("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            multiple_of: number("multipleOf"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            pattern: Some(text("pattern")).filter(|p| !p.is_empty()).and_then(|p| Some((p.to_owned(), pattern(p).ok()?))),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            unique_items: flag("uniqueItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: texts("required"),
            values: v.get("enum").and_then(Value::as_array).cloned(),
            items: child("items"),
            properties: v.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(k, p)| (k.to_string(), Schema::read(p))).collect(),
            additional: match v.get("additionalProperties") {
                Some(Value::Bool(b)) => Additional::Bool(*b),
                Some(s @ Value::Object(_)) => Additional::Schema(Box::new(Schema::read(s))),
                _ => Additional::Unset,
            },
            all_of: list(v, "allOf"),
            any_of: list(v, "anyOf"),
            one_of: list(v, "oneOf"),
            not: child("not"),
            default: v.get("default").filter(|d| !d.is_null()).cloned(),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list_type: match text("x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map,
                _ => ListType::Atomic,
            },
            list_keys: texts("x-kubernetes-list-map-keys"),
            atomic_map: text("x-kubernetes-map-type") == "atomic",
            rules: v.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten().map(rule).collect(),
        }
    }
    /// The schema of the values of keys that are no properties.
    pub fn additional_schema(&self) -> Option<&Schema> {
        match &self.additional {
            Additional::Schema(s) => Some(s),
            _ => None,
        }
    }
    /// Whether `pred` holds anywhere in the structural part.
    pub fn any(&self, pred: &dyn Fn(&Schema) -> bool) -> bool {
        let below = self.items.as_deref().into_iter().chain(self.additional_schema()).chain(self.properties.values());
        pred(self) || below.into_iter().any(|s| s.any(pred))
    }
    /// The value of the old list or map that is the same one as `key` or `item` here; None where that cannot be said.
    pub fn correlated_key<'o>(&self, old: Option<&'o Value>, key: &str) -> Option<&'o Value> {
        old.filter(|_| !self.atomic_map)?.get(key)
    }
    pub fn correlated_item<'o>(&self, old: Option<&'o Value>, item: &Value) -> Option<&'o Value> {
        if self.list_type != ListType::Map {
            return None;
        }
        let mut same = old?.as_array()?.iter().filter(|o| self.list_keys.iter().all(|k| self.key_value(o, k) == self.key_value(item, k)));
        let found = same.next()?;
        same.next().is_none().then_some(found)
    }
    fn key_value<'v>(&'v self, item: &'v Value, key: &str) -> Option<&'v Value> {
        item.get(key).or_else(|| self.items.as_ref()?.properties.get(key)?.default.as_ref())
    }
}

fn rule(v: &Value) -> Rule {
    let text = |k: &str| v.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
    Rule {
        rule: text("rule"),
        message: text("message"),
        message_expression: text("messageExpression"),
        reason: text("reason"),
        field_path: text("fieldPath"),
        optional_old_self: v.get("optionalOldSelf").and_then(Value::as_bool),
    }
}

/// JSON values equal whatever the order of maps, 1 and 1.0 being the same.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        (Value::Object(x), Value::Object(y)) => x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w))),
        _ => a == b,
    }
}
