//! The types that schemas declare to expressions.
use crate::schema::{Additional, Schema, Type as Kinds};
use skiff_cel::check::{Kind, Object, Type};
use skiff_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// The most bytes that a request may have: what has no bound is bounded by it.
pub const REQUEST: u64 = 3 << 20;

/// A declared type, and the fewest bytes that its values have as JSON.
#[derive(Clone, Debug)]
pub struct Declared {
    pub ty: Type,
    pub smallest: u64,
}

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a name is a word of the language.
pub fn reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// A property's name as expressions write it; None where they cannot.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if reserved(name) {
        return Some(format!("__{name}__"));
    }
    let (mut out, mut chars) = (String::new(), name.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '_' if chars.next_if_eq(&'_').is_some() => out.push_str("__underscores__"),
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
    }
    Some(out)
}

fn simple(kind: Kind, max: u64, smallest: u64) -> Declared {
    Declared { ty: Type::sized(kind, max), smallest }
}

/// The type of a schema's values; None: expressions don't see them. `object`: the root of an object, which always has
/// what says its type and its name.
pub fn declared(s: &Schema, object: bool) -> Option<Declared> {
    named(s, object, "selfType")
}

/// Types of objects are known by where they stand: two that have the same fields are two all the same.
fn named(s: &Schema, object: bool, name: &str) -> Option<Declared> {
    if s.int_or_string {
        return Some(simple(Kind::Dyn, s.max_length.map_or(REQUEST - 2, |m| m.saturating_mul(4)), 1));
    }
    match s.kind? {
        Kinds::Array => {
            let items = s.items.as_deref()?;
            let item = named(items, items.embedded, &format!("{name}.@idx"))?;
            let max = s.max_items.unwrap_or((REQUEST - 2) / (item.smallest + 1));
            Some(Declared { ty: Type::list(item.ty, max), smallest: 2 })
        }
        Kinds::Object => match &s.additional {
            Additional::Schema(a) if s.properties.is_empty() => {
                let value = named(a, a.embedded, &format!("{name}.@elem"))?;
                let max = s.max_properties.unwrap_or((REQUEST - 2) / (value.smallest + 6));
                Some(Declared { ty: Type::map(value.ty, max), smallest: 2 })
            }
            _ => Some(properties(s, object, name)),
        },
        Kinds::String => Some(text(s)),
        Kinds::Boolean => Some(simple(Kind::Bool, 1, 4)),
        Kinds::Number => Some(simple(Kind::Double, 1, 1)),
        Kinds::Integer => Some(simple(Kind::Int, 1, 1)),
    }
}

fn properties(s: &Schema, object: bool, own: &str) -> Declared {
    let (mut fields, mut smallest) = (BTreeMap::new(), 2);
    for (name, p) in &s.properties {
        let Some(d) = named(p, p.embedded, &format!("{own}.{name}")) else { continue };
        if s.required.contains(name) && p.default.is_none() {
            smallest += name.len() as u64 + d.smallest + 4;
        }
        if let Some(escaped) = escape(name) {
            // What is a word of the language elsewhere may be named as it is behind a dot.
            if reserved(name) {
                fields.insert(name.clone(), d.ty.clone());
            }
            fields.insert(escaped, d.ty);
        }
    }
    if object {
        let string = || Type::sized(Kind::String, REQUEST - 2);
        for name in ["apiVersion", "kind"] {
            fields.insert(name.into(), string());
        }
        let meta = BTreeMap::from([("name".to_owned(), string()), ("generateName".to_owned(), string())]);
        fields.insert("metadata".into(), Type::new(Kind::Object(Arc::new(Object { name: format!("{own}.metadata"), fields: meta }))));
    }
    Declared { ty: Type::new(Kind::Object(Arc::new(Object { name: own.to_owned(), fields }))), smallest }
}

fn text(s: &Schema) -> Declared {
    match s.format.as_str() {
        "byte" => simple(Kind::Bytes, s.max_length.unwrap_or(REQUEST - 2), 2),
        "duration" => simple(Kind::Duration, 32, 3),
        "date" => simple(Kind::Timestamp, 12, 12),
        "date-time" => simple(Kind::Timestamp, 32, 21),
        _ => {
            let longest =
                || s.values.as_ref().filter(|v| !v.is_empty()).map(|v| v.iter().filter_map(Value::as_str).map(|t| t.len() as u64).max().unwrap_or_default());
            simple(Kind::String, s.max_length.map(|m| m.saturating_mul(4)).or_else(longest).unwrap_or(REQUEST - 2), 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn names_are_escaped() {
        for (name, want) in [
            ("a", Some("a")),
            ("a-b", Some("a__dash__b")),
            ("a.b/c", Some("a__dot__b__slash__c")),
            ("namespace", Some("__namespace__")),
            ("a__b", Some("a__underscores__b")),
            ("1a", None),
            ("a b", None),
        ] {
            assert_eq!(escape(name).as_deref(), want, "{name}");
        }
    }
    #[test]
    fn schemas_declare_types() {
        let s = Schema::read(
            &json!({"type": "object", "required": ["s"], "properties": {"s": {"type": "string", "maxLength": 5}, "l": {"type": "array", "items": {"type": "integer"}},
            "m": {"type": "object", "additionalProperties": {"type": "string"}}, "free": {"x-kubernetes-preserve-unknown-fields": true}}}),
        );
        let d = declared(&s, true).unwrap();
        let Kind::Object(o) = &d.ty.kind else { panic!("{:?}", d.ty) };
        assert_eq!(o.fields.keys().map(String::as_str).collect::<Vec<_>>(), ["apiVersion", "kind", "l", "m", "metadata", "s"]);
        assert_eq!((o.fields["s"].max, o.fields["l"].max, d.smallest), (20, (REQUEST - 2) / 2, 9));
    }
}
