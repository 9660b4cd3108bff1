//! A schema of a definition: what OpenAPI knows and Kubernetes allows of it, and the extensions.
use super::{defaults, structural};
use crate::{cel, schema::Schema, value::format};
use skiff_json::Value;
use skiff_validation::{Field, Json, shown};

pub struct Options {
    /// Whether the status has a subresource.
    pub status: bool,
    /// The schema is as it was.
    pub unchanged: bool,
}

/// What holds below a node because of what is above it.
#[derive(Clone, Default)]
struct Scope {
    /// Why there may be no default.
    no_defaults: Option<String>,
    inside_meta: bool,
}

pub fn check(s: &Field<'_>, options: &Options) {
    if !s.value().is_object() {
        return;
    }
    let begin = s.mark();
    if options.status {
        narrow_root(s);
    }
    if s.at("nullable").flag() {
        s.sibling("openAPIV3Schema.nullable").forbidden("nullable cannot be true at the root");
    }
    let before = s.mark();
    if structural::sayable(s.value()) {
        structural::check(s);
        if s.clean_since(before) {
            defaults::check(s);
        }
    }
    node(s, true, &Scope::default());
    // A schema that is wrong gives rules no types that anybody would understand.
    if s.clean_since(begin) {
        cel::check_definition(s, options.unchanged);
    }
}

const AT_ROOT: [&str; 22] = [
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// The status is checked by its own part of the schema: nothing beside properties may speak of it.
fn narrow_root(s: &Field<'_>) {
    let allowed = |key: &str| {
        let key = match key {
            "x-kubernetes-preserve-unknown-fields" => "XPreserveUnknownFields",
            "x-kubernetes-validations" => "XValidations",
            k => k,
        };
        AT_ROOT.iter().any(|a| a.eq_ignore_ascii_case(key))
    };
    let zero = |v: &Value| matches!(v, Value::Null | Value::Bool(false)) || *v == "" || v.as_array().is_some_and(Vec::is_empty);
    if !s.at("type").is("object") && s.at("type").exists() {
        let f = s.sibling("openAPIV3Schema.type");
        return f.invalid(s.at("type").str(), "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled");
    }
    if s.value().as_object().into_iter().flatten().any(|(k, v)| !zero(v) && !allowed(k)) {
        s.invalid(
            Json(shown(s.value())),
            &format!("only [{}] fields are allowed at the root of the schema if the status subresource is enabled", AT_ROOT.join(" ")),
        );
    }
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

fn standard(s: &Field<'_>, scope: &Scope) {
    let kind = s.at("type");
    if !kind.str().is_empty() && !TYPES.contains(&kind.str()) {
        kind.unsupported(kind.str(), &TYPES);
    }
    if s.at("default").exists()
        && let Some(why) = &scope.no_defaults
    {
        s.at("default").forbidden(&format!("must not be set {why}"));
    }
    for key in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        let f = s.child(key);
        if f.exists() && *f.value() != "" {
            f.forbidden(&format!("{key} is not supported"));
        }
    }
    if kind.is("null") {
        kind.forbidden("type cannot be set to null, use nullable as an alternative");
    }
    if !s.at("items").list().is_empty() {
        s.at("items").forbidden("items must be a schema object and not an array");
    }
    if scope.inside_meta && s.child("x-kubernetes-embedded-resource").flag() {
        s.child("x-kubernetes-embedded-resource").forbidden("must not be used inside of resource meta");
    }
}

fn node(s: &Field<'_>, root: bool, scope: &Scope) {
    if !s.value().is_object() {
        return;
    }
    standard(s, scope);
    if s.at("uniqueItems").flag() {
        s.at("uniqueItems").forbidden("uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    }
    below(s, root, scope);
    extensions(s);
    keyed(s);
    rules(s);
}

fn below(s: &Field<'_>, root: bool, scope: &Scope) {
    let (additional, properties) = (s.at("additionalProperties"), s.at("properties"));
    if additional.exists() {
        if !properties.is_empty() && additional.switch() != Some(true) {
            additional.forbidden("additionalProperties and properties are mutual exclusive");
        }
        let why = || Some("inside additionalProperties applying to object metadata".to_owned());
        node(&additional, false, &Scope { no_defaults: if scope.inside_meta { why() } else { scope.no_defaults.clone() }, ..scope.clone() });
    }
    let object = root || s.child("x-kubernetes-embedded-resource").flag();
    for (name, p) in properties.entries() {
        let mut inner = scope.clone();
        if object && matches!(name, "metadata" | "kind" | "apiVersion") {
            inner.inside_meta = true;
            if root {
                inner.no_defaults = Some(format!("in top-level {name}"));
            }
        }
        node(&p, false, &inner);
    }
    node(&s.at("not"), false, scope);
    for key in ["allOf", "oneOf", "anyOf"] {
        s.at(key).items().for_each(|n| node(&n, false, scope));
    }
    match s.at("items").value() {
        Value::Array(_) => s.at("items").items().for_each(|n| node(&n, false, scope)),
        _ => node(&s.at("items"), false, scope),
    }
}

fn wrong_type(s: &Field<'_>, wanted: &str, why: &str) {
    let kind = s.at("type");
    if !kind.is(wanted) {
        if kind.str().is_empty() { kind.required(why) } else { kind.invalid(kind.str(), why) }
    }
}

fn extensions(s: &Field<'_>) {
    let open = s.child("x-kubernetes-preserve-unknown-fields");
    if open.switch() == Some(false) {
        open.invalid(false, "must be true or undefined");
    }
    let (map, list) = (s.child("x-kubernetes-map-type"), s.child("x-kubernetes-list-type"));
    if map.exists() {
        wrong_type(s, "object", "must be object if x-kubernetes-map-type is specified");
        map.if_any_of(&["atomic", "granular"]);
    }
    if !list.exists() {
        return;
    }
    wrong_type(s, "array", "must be array if x-kubernetes-list-type is specified");
    if s.at("type").is("array") && list.is("set") {
        let items = s.at("items");
        let (inner, own) = (items.child("x-kubernetes-list-type"), items.child("x-kubernetes-map-type"));
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        if items.at("type").is("array") && inner.exists() && !inner.is("atomic") {
            inner.invalid(inner.value(), why);
        }
        if items.at("type").is("object") && !own.is("atomic") {
            own.invalid(inner.value(), why);
        }
    }
    list.if_any_of(&["atomic", "set", "map"]);
}

/// Lists of type map and set.
fn keyed(s: &Field<'_>) {
    let (list, keys, items) = (s.child("x-kubernetes-list-type"), s.child("x-kubernetes-list-map-keys"), s.at("items"));
    if !keys.list().is_empty() && !list.is("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        if list.exists() { list.invalid(list.str(), why) } else { list.required(why) }
    }
    let all = keys.strs();
    if list.is("map") {
        if all.is_empty() {
            keys.required("must not be empty if x-kubernetes-list-type is map");
        }
        if !items.exists() {
            items.required("must have a schema if x-kubernetes-list-type is map");
        } else if items.value().is_array() {
            items.invalid(Json("{\"Schema\":null,\"JSONSchemas\":[]}".into()), "must only have a single schema if x-kubernetes-list-type is map");
        } else if !items.value().is_object() {
            items.invalid(Json("{\"Schema\":null,\"JSONSchemas\":null}".into()), "must only have a single schema if x-kubernetes-list-type is map");
        } else if !items.at("type").is("object") {
            items.at("type").invalid(items.at("type").str(), "must be object if parent array's x-kubernetes-list-type is map");
        } else {
            map_keys(&keys, &items);
        }
    }
    if items.value().is_object() && (list.is("map") || list.is("set")) {
        if items.at("nullable").flag() {
            items.at("nullable").forbidden(&format!("cannot be nullable when x-kubernetes-list-type is {}", list.str()));
        }
        let required = items.at("required").strs();
        for key in all.iter().filter(|_| list.is("map")) {
            let p = items.at("properties").key(*key);
            if p.exists() && !required.contains(key) && !p.at("default").exists() {
                p.at("default").required("this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
            }
            if p.at("nullable").flag() {
                p.at("nullable").forbidden("this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
            }
        }
    }
}

fn map_keys(keys: &Field<'_>, items: &Field<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for key in keys.strs() {
        let p = items.at("properties").key(key);
        if !p.exists() {
            keys.invalid(Json(shown(keys.value())), "entries must all be names of item properties");
        } else if p.at("type").is("array") || p.at("type").is("object") {
            p.at("type").invalid(items.at("type").str(), "must be a scalar type if parent array's x-kubernetes-list-type is map");
        }
        if seen.contains(&key) {
            keys.invalid(Json(shown(keys.value())), "must not contain duplicate entries");
        }
        seen.push(key);
    }
}

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// The rules of CEL but for their expressions.
fn rules(s: &Field<'_>) {
    let lines = |t: &str| t.contains(['\n', '\r']);
    for r in s.child("x-kubernetes-validations").items() {
        let (rule, message, expression, path) = (r.at("rule"), r.at("message"), r.at("messageExpression"), r.at("fieldPath"));
        if rule.str().trim().is_empty() {
            rule.required("rule is not specified");
        } else if !message.str().is_empty() && message.str().trim().is_empty() {
            message.invalid(message.str(), "must be non-empty if specified");
        } else if lines(message.str().trim()) {
            message.invalid(message.str(), "must not contain line breaks");
        } else if lines(rule.str().trim()) && message.str().trim().is_empty() {
            message.required("message must be specified if rule contains line breaks");
        }
        if !expression.str().is_empty() && expression.str().trim().is_empty() {
            expression.required("messageExpression must be non-empty if specified");
        }
        if r.at("reason").exists() && !REASONS.contains(&r.at("reason").str()) {
            r.at("reason").unsupported(r.at("reason").str(), &REASONS);
        }
        if !path.str().is_empty() && path.str().trim().is_empty() {
            path.invalid(path.str(), "must be non-empty if specified");
        }
        if lines(path.str()) {
            path.invalid(path.str(), "must not contain line breaks");
        }
        if !path.str().is_empty() && crate::schema::field_path(path.str(), &Schema::read(s.value()), true).is_err() {
            path.invalid(path.str(), "must be a valid path");
        }
    }
}

/// Formats in a schema that are no rule for anything.
pub fn unknown_formats(s: &Value, found: &mut Vec<String>) {
    let Some(m) = s.as_object() else { return };
    let text = |k: &str| m.get(k).and_then(Value::as_str).unwrap_or_default();
    let given = text("format");
    if !given.is_empty() && format::of_type(Some(text("type")).filter(|t| !t.is_empty()), given).is_none() {
        found.push(given.to_owned());
    }
    for key in ["items", "additionalProperties", "not"] {
        m.get(key).into_iter().for_each(|v| unknown_formats(v, found));
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        m.get(key).and_then(Value::as_array).into_iter().flatten().for_each(|v| unknown_formats(v, found));
    }
    m.get("properties").and_then(Value::as_object).into_iter().flatten().for_each(|(_, v)| unknown_formats(v, found));
}
