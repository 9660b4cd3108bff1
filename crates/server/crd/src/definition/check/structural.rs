//! Whether a schema is structural: every field is described outside of junctors, which only narrow what is described.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
use crate::schema;
use skiff_json::{Value, json};
use skiff_validation::Field;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

pub fn check(s: &Field<'_>) {
    let begin = s.mark();
    invariants(s, Level::Root);
    complete(s);
    s.sort_since(begin);
}

/// Whether a schema has nothing that a structural one cannot even say.
pub fn sayable(v: &Value) -> bool {
    let Some(m) = v.as_object() else { return true };
    let unsaid = |k: &&str| m.get(k).is_some_and(|v| !v.is_null() && *v != "");
    if ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"].iter().any(unsaid)
        || m.get("items").and_then(Value::as_array).is_some_and(|a| !a.is_empty())
    {
        return false;
    }
    let all = |k: &str| m.get(k).and_then(Value::as_array).is_none_or(|l| l.iter().all(sayable));
    ["items", "additionalProperties", "not"].iter().all(|k| m.get(k).is_none_or(sayable))
        && ["allOf", "anyOf", "oneOf"].iter().all(|k| all(k))
        && m.get("properties").and_then(Value::as_object).is_none_or(|p| p.values().all(sayable))
}

fn invariants(s: &Field<'_>, level: Level) {
    let (kind, items, additional) = (s.at("type"), s.at("items"), s.at("additionalProperties"));
    let flag = |k: &'static str| s.child(k).flag();
    let (embedded, either, open) = (flag("x-kubernetes-embedded-resource"), flag("x-kubernetes-int-or-string"), flag("x-kubernetes-preserve-unknown-fields"));
    if kind.is("array") && !items.value().is_object() {
        items.required("must be specified");
    }
    if items.value().is_object() {
        invariants(&items, Level::Item);
    }
    s.at("properties").entries().for_each(|(_, p)| invariants(&p, Level::Field));
    if additional.exists() {
        if level == Level::Root {
            additional.forbidden("must not be used at the root");
        }
        if additional.value().is_object() {
            invariants(&additional, Level::Field);
        }
    }
    if either && open {
        s.child("x-kubernetes-preserve-unknown-fields").invalid(true, "must be false if x-kubernetes-int-or-string is true");
    }
    if either && embedded {
        s.child("x-kubernetes-embedded-resource").invalid(true, "must be false if x-kubernetes-int-or-string is true");
    }
    values(s, int_or_string(s.at("anyOf").value()), int_or_string(&s.at("allOf").index(0).value()["anyOf"]));
    typed(s, level, embedded, either || open);
    if embedded && additional.exists() {
        additional.forbidden("must not be used if x-kubernetes-embedded-resource is set");
    }
    identity(s, level, level == Level::Root || embedded);
    if embedded && !open && s.at("properties").is_empty() {
        s.at("properties").required("must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
    }
}

fn typed(s: &Field<'_>, level: Level, embedded: bool, free: bool) {
    let kind = s.at("type");
    if embedded && !kind.is("object") {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if kind.str().is_empty() { kind.required(why) } else { kind.invalid(kind.str(), why) }
    } else if kind.str().is_empty() && !free {
        kind.required(match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        });
    }
    if level == Level::Root && !kind.str().is_empty() && !kind.is("object") {
        kind.invalid(kind.str(), "must be object at the root");
    }
}

/// What says the type of an object, and its metadata.
fn identity(s: &Field<'_>, level: Level, object: bool) {
    let properties = s.at("properties");
    for name in ["kind", "apiVersion"] {
        let p = properties.key(name);
        if object && p.exists() && !p.at("type").is("string") {
            p.at("type").invalid(p.at("type").str(), "must be string");
        }
    }
    let meta = properties.key("metadata");
    if !meta.exists() {
        return;
    }
    if object && !meta.at("type").is("object") {
        meta.at("type").invalid(meta.at("type").str(), "must be object");
    }
    if level == Level::Root {
        let narrow = |k: &str, v: &Value| match k {
            "type" | "default" => true,
            "properties" => v.as_object().is_some_and(|m| m.keys().all(|k| k == "name" || k == "generateName")),
            _ => false,
        };
        if !meta.value().as_object().into_iter().flatten().all(|(k, v)| narrow(k, v)) {
            meta.forbidden("must not specify anything other than name and generateName, but metadata is implicitly specified");
        }
    }
}

fn int_or_string(any_of: &Value) -> bool {
    *any_of == json!([{"type": "integer"}, {"type": "string"}])
}

/// The narrowing part; the pattern that int-or-string has may name types.
fn values(s: &Field<'_>, skip_any: bool, skip_first_all: bool) {
    if !skip_any {
        s.at("anyOf").items().for_each(|v| nested(&v, false));
    }
    s.at("allOf").items().enumerate().for_each(|(i, v)| nested(&v, skip_first_all && i == 0));
    s.at("oneOf").items().for_each(|v| nested(&v, false));
    if s.at("not").exists() {
        nested(&s.at("not"), false);
    }
    let pattern = s.at("pattern");
    if !pattern.str().is_empty()
        && let Err(why) = schema::pattern(pattern.str())
    {
        pattern.invalid(pattern.str(), &format!("must be a valid regular expression, but isn't: {why}"));
    }
}

const EMPTY: &str = "must be empty to be structural";
const UNSET: &str = "must be undefined to be structural";
const FALSE: &str = "must be false to be structural";

/// What stands below a junctor describes nothing by itself.
fn nested(v: &Field<'_>, skip_any: bool) {
    values(v, skip_any, false);
    if v.at("items").value().is_object() {
        nested(&v.at("items"), false);
    }
    v.at("properties").entries().for_each(|(_, p)| nested(&p, false));
    let texts: [(&'static str, &str); 7] = [
        ("type", EMPTY),
        ("default", UNSET),
        ("title", EMPTY),
        ("description", EMPTY),
        ("x-kubernetes-list-map-keys", EMPTY),
        ("x-kubernetes-list-type", UNSET),
        ("x-kubernetes-map-type", UNSET),
    ];
    let additional = v.at("additionalProperties");
    if additional.exists() && additional.switch() != Some(false) {
        additional.forbidden(UNSET);
    }
    for (key, why) in texts {
        let f = v.child(key);
        if f.exists() && *f.value() != "" {
            f.forbidden(why);
        }
    }
    for key in ["nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"] {
        if v.child(key).flag() {
            v.child(key).forbidden(FALSE);
        }
    }
    if !v.child("x-kubernetes-validations").list().is_empty() {
        v.child("x-kubernetes-validations").forbidden(EMPTY);
    }
    if v.at("properties").key("metadata").exists() {
        v.at("properties").key("metadata").forbidden("must not be specified in a nested context");
    }
}

/// Everything that the junctors of the root speak of is described beside them.
fn complete(s: &Field<'_>) {
    let (value, at) = (s.value(), s.path());
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, n) in value[key].as_array().into_iter().flatten().enumerate() {
            described(n, Some(value), s, &at, &format!("{at}.{key}[{i}]"));
        }
    }
    if value["not"].is_object() {
        described(&value["not"], Some(value), s, &at, &format!("{at}.not"));
    }
}

fn described(v: &Value, s: Option<&Value>, told: &Field<'_>, path: &str, at: &str) {
    let Some(structure) = s.filter(|s| s.is_object()) else {
        let base = told.path();
        let below = path.strip_prefix(&base).unwrap_or(path);
        let below = below.strip_prefix('.').unwrap_or(below).to_owned();
        return told.child(below).required(&format!("because it is defined in {at}"));
    };
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, n) in v[key].as_array().into_iter().flatten().enumerate() {
            described(n, Some(structure), told, path, &format!("{at}.{key}[{i}]"));
        }
    }
    if v["not"].is_object() {
        described(&v["not"], Some(structure), told, path, &format!("{at}.not"));
    }
    if v["items"].is_object() {
        described(&v["items"], structure.get("items"), told, &format!("{path}.items"), &format!("{at}.items"));
    }
    for (k, p) in v["properties"].as_object().into_iter().flatten() {
        described(p, structure["properties"].get(k), told, &format!("{path}.properties[{k}]"), &format!("{at}.properties[{k}]"));
    }
}
