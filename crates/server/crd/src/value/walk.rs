//! A value against the validating part of a schema: types, bounds, patterns, formats, junctors.
//!
//! Values that are as they were before pass, whatever the schema says by now (ratcheting), where old and new can be told
//! to be the same thing: below lists that are no maps, and below atomic maps, they cannot.
use super::{
    failure::{Kind, Outcome},
    format, number,
};
use crate::schema::{Additional, Schema, Type, same};
use skiff_json::{Map, Value};

/// The old value that a new one is compared with, and the schema by which their parts are matched.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    pub value: &'a Value,
    pub schema: &'a Schema,
}

impl<'a> Before<'a> {
    pub fn key(self, key: &str) -> Option<Before<'a>> {
        let schema = self.schema.properties.get(key).or_else(|| self.schema.additional_schema())?;
        Some(Before { value: self.schema.correlated_key(Some(self.value), key)?, schema })
    }
    pub fn item(self, item: &Value) -> Option<Before<'a>> {
        Some(Before { value: self.schema.correlated_item(Some(self.value), item)?, schema: self.schema.items.as_deref()? })
    }
}

/// Checks; what fails but is unchanged passes.
pub fn check(v: &Value, s: &Schema, before: Option<Before<'_>>, path: &str) -> Outcome {
    let out = plain(v, s, before, path);
    match before {
        Some(b) if !out.is_valid() && same(b.value, v) => Outcome { failures: Vec::new(), matched: out.matched },
        _ => out,
    }
}

fn plain(v: &Value, s: &Schema, before: Option<Before<'_>>, path: &str) -> Outcome {
    let mut out = Outcome::default();
    kind(v, s, path, &mut out);
    if v.is_null() {
        values(v, s, path, &mut out);
        return out;
    }
    junctors(v, s, before, path, &mut out);
    match v {
        Value::String(text) => string(text, s, path, &mut out),
        Value::Number(n) => number::check(n, s, path, &mut out),
        Value::Array(items) => list(items, s, before, path, &mut out),
        _ => {}
    }
    values(v, s, path, &mut out);
    if let Value::Object(m) = v {
        object(m, s, before, path, &mut out);
    }
    out.matched += 1;
    out
}

/// The name that schemas give the type of a value.
pub fn type_of(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Number(n) if n.is_i64() => "integer",
        Value::Number(_) => "number",
    }
}

/// The types that a schema allows.
fn types(s: &Schema) -> Vec<&'static str> {
    if s.int_or_string { vec!["integer", "string"] } else { s.kind.map(Type::name).into_iter().collect() }
}

fn kind(v: &Value, s: &Schema, path: &str, out: &mut Outcome) {
    let (allowed, found) = (types(s), type_of(v));
    let format = format::of_type(s.kind.map(Type::name).filter(|_| !s.int_or_string), &s.format);
    if allowed.is_empty() && format.is_none() {
        return;
    }
    out.matched += 1;
    let wrong = |out: &mut Outcome, what: &str| out.fail(Kind::TypeInvalid, path, found, format!("{path} in body must be of type {what}: {found:?}"));
    if v.is_null() {
        if !allowed.is_empty() && !s.nullable {
            wrong(out, &allowed.join(","));
        }
        return;
    }
    let numeric = allowed.iter().any(|t| matches!(*t, "integer" | "number"));
    let fits = allowed.contains(&found)
        || (found == "integer" && allowed.contains(&"number"))
        || (found == "number" && allowed.contains(&"integer") && v.as_f64().is_some_and(|f| f == f.trunc()));
    match format {
        Some(_) if !numeric && matches!(found, "string" | "array") => {}
        Some(f) if !fits && !matches!(found, "string" | "array") => wrong(out, f),
        _ if !fits => wrong(out, &allowed.join(",")),
        _ => {}
    }
}

fn values(v: &Value, s: &Schema, path: &str, out: &mut Outcome) {
    let Some(all) = s.values.as_ref().filter(|all| !all.is_empty()) else { return };
    if v.is_null() || !all.iter().any(|x| same(x, v)) {
        out.fail(Kind::NotSupported(all.clone()), path, v.clone(), format!("{path} in body should be one of {}", Value::from(all.clone())));
    }
}

fn string(text: &str, s: &Schema, path: &str, out: &mut Outcome) {
    let length = text.chars().count() as u64;
    if let Some(max) = s.max_length.filter(|m| length > *m) {
        out.fail(Kind::TooLong(max), path, text, format!("{path} in body should be at most {max} chars long"));
    } else if let Some(min) = s.min_length.filter(|m| length < *m) {
        out.fail(Kind::Invalid, path, text, format!("{path} in body should be at least {min} chars long"));
    } else if let Some((given, _)) = s.pattern.as_ref().filter(|(_, r)| !r.is_match(text)) {
        out.fail(Kind::Invalid, path, text, format!("{path} in body should match '{given}'"));
    }
    if let Some(f) = format::of_type(s.kind.map(Type::name).filter(|_| !s.int_or_string), &s.format)
        && format::known(f)
        && !format::holds(f, text)
    {
        out.fail(Kind::TypeInvalid, path, text, format!("{path} in body must be of type {f}: {}", skiff_meta::go::quote(text)));
    }
    out.matched += 1;
}

fn list(items: &[Value], s: &Schema, before: Option<Before<'_>>, path: &str, out: &mut Outcome) {
    if let Some(below) = &s.items {
        for (i, v) in items.iter().enumerate() {
            out.merge(check(v, below, before.and_then(|b| b.item(v)), &format!("{path}[{i}]")));
        }
    }
    let count = items.len() as u64;
    if let Some(min) = s.min_items.filter(|m| count < *m) {
        out.fail(Kind::Invalid, path, count, format!("{path} in body should have at least {min} items"));
    }
    if let Some(max) = s.max_items.filter(|m| count > *m) {
        out.fail(Kind::TooMany(max), path, count, format!("{path} in body should have at most {max} items"));
    }
    if s.unique_items && items.iter().enumerate().any(|(i, v)| items.iter().take(i).any(|u| same(u, v))) {
        out.fail(Kind::Invalid, path, "", format!("{path} in body shouldn't contain duplicates"));
    }
    out.matched += 1;
}

fn object(m: &Map, s: &Schema, before: Option<Before<'_>>, path: &str, out: &mut Outcome) {
    let count = m.len() as u64;
    if let Some(min) = s.min_properties.filter(|m| count < *m) {
        out.fail(Kind::Invalid, path, count, format!("{path} in body should have at least {min} properties"));
    }
    if let Some(max) = s.max_properties.filter(|m| count > *m) {
        out.fail(Kind::TooMany(max), path, count, format!("{path} in body should have at most {max} properties"));
    }
    for (k, v) in m {
        let below = if path.is_empty() { k.to_string() } else { format!("{path}.{k}") };
        // Both versions of what says the type are the request's: they tell nothing.
        let old = before.filter(|_| !(path.is_empty() && matches!(k.as_str(), "kind" | "apiVersion"))).and_then(|b| b.key(k));
        match (s.properties.get(k.as_str()), &s.additional) {
            (Some(p), _) => out.merge(check(v, p, old, &below)),
            (None, Additional::Schema(a)) => out.merge(check(v, a, old, &format!("{path}.{k}"))),
            (None, Additional::Bool(false)) => out.fail(Kind::Invalid, path, k.as_str(), format!("{path}.{k} in body is a forbidden property")),
            _ => {}
        }
    }
    for k in s.required.iter().filter(|k| !m.contains_key(k)) {
        out.fail(Kind::Required, &format!("{path}.{k}"), Value::Null, format!("{path}.{k} in body is required"));
    }
}

fn named(path: &str) -> String {
    format!("{path:?}")
}

fn junctors(v: &Value, s: &Schema, before: Option<Before<'_>>, path: &str, out: &mut Outcome) {
    any_of(v, s, before, path, out);
    one_of(v, s, before, path, out);
    if !s.all_of.is_empty() {
        let all: Vec<Outcome> = s.all_of.iter().map(|a| plain(v, a, before, path)).collect();
        let (valid, of) = (all.iter().filter(|o| o.is_valid()).count(), all.len());
        all.into_iter().for_each(|o| out.merge(o));
        if valid != of {
            let none = if valid == 0 { ". None validated" } else { "" };
            out.fail_unplaced(format!("{} must validate all the schemas (allOf){none}", named(path)));
        }
    }
    if s.not.as_ref().is_some_and(|n| plain(v, n, before, path).is_valid()) {
        out.fail_unplaced(format!("{} must not validate the schema (not)", named(path)));
    }
    out.matched += 1;
}

fn better(best: Option<Outcome>, new: Outcome) -> Option<Outcome> {
    match best {
        Some(b) if b.matched >= new.matched => Some(b),
        _ => Some(new),
    }
}

fn any_of(v: &Value, s: &Schema, before: Option<Before<'_>>, path: &str, out: &mut Outcome) {
    let mut best = None;
    for a in &s.any_of {
        let found = plain(v, a, before, path);
        if found.is_valid() {
            return out.merge(found);
        }
        best = better(best, found);
    }
    if let Some(b) = best {
        out.fail_unplaced(format!("{} must validate at least one schema (anyOf)", named(path)));
        out.merge(b);
    }
}

fn one_of(v: &Value, s: &Schema, before: Option<Before<'_>>, path: &str, out: &mut Outcome) {
    if s.one_of.is_empty() {
        return;
    }
    let (mut best, mut first, mut valid) = (None, None, 0);
    for a in &s.one_of {
        let found = plain(v, a, before, path);
        if found.is_valid() {
            valid += 1;
            first = first.or(Some(found));
        } else {
            best = better(best, found);
        }
    }
    if valid == 1 {
        return first.into_iter().for_each(|f| out.merge(f));
    }
    let what = if valid == 0 { "Found none valid".to_owned() } else { format!("Found {valid} valid alternatives") };
    out.fail_unplaced(format!("{} must validate one and only one schema (oneOf). {what}", named(path)));
    if valid == 0 {
        best.into_iter().for_each(|b| out.merge(b));
    }
}
