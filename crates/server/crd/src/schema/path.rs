//! Paths that definitions give to fields of their own schema: `.a.b['c.d']`.
use super::{Additional, Schema};

/// A path that was found in a schema.
#[derive(Clone, Debug)]
pub struct FieldPath<'s> {
    /// What it leads to; None behind `additionalProperties: true`.
    pub schema: Option<&'s Schema>,
    /// As errors write it, with a dot or a bracket before each step.
    pub shown: String,
}

/// Finds a path; `brackets`: whether steps may be written `['…']`. The error says what is wrong with it.
pub fn field_path<'s>(text: &str, schema: &'s Schema, brackets: bool) -> Result<FieldPath<'s>, String> {
    let (mut at, mut shown) = (Some(schema), String::new());
    let mut rest = text;
    let end = || "unexpected end of JSON path".to_owned();
    while !rest.is_empty() {
        let (step, tail) = if let Some(r) = rest.strip_prefix('.') {
            let stop = r.find(['.', '[', ']']).unwrap_or(r.len());
            (r.get(..stop).filter(|s| !s.is_empty()).ok_or_else(end)?.to_owned(), &r[stop..])
        } else if let Some(r) = rest.strip_prefix('[') {
            if !brackets {
                return Err("array notation is not allowed".into());
            }
            quoted(r)?
        } else {
            let stop = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            return Err(format!("expected [ or . but got: {}", rest.get(..stop).unwrap_or(rest)));
        };
        let s = at.ok_or("does not refer to a valid field")?;
        if !s.properties.is_empty() {
            at = Some(s.properties.get(&step).ok_or("does not refer to a valid field")?);
            shown += &format!(".{step}");
        } else {
            at = match &s.additional {
                Additional::Schema(a) => Some(a),
                Additional::Bool(_) => None,
                Additional::Unset => return Err("does not refer to a valid field".into()),
            };
            shown += &format!("[{step}]");
        }
        rest = tail;
    }
    Ok(FieldPath { schema: at, shown })
}

/// A step in single quotes, up to its bracket.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let Some(inside) = text.strip_prefix('\'') else {
        let stop = text.find(['.', '[', ']']).unwrap_or(text.len());
        return Err(if text.is_empty() {
            "unexpected end of JSON path".into()
        } else {
            format!("expected single quoted string but got {}", &text[..stop.max(1).min(text.len())])
        });
    };
    let (mut out, mut chars) = (String::new(), inside.char_indices());
    while let Some((i, c)) = chars.next() {
        match c {
            '\'' => {
                let tail = &inside[i + 1..];
                return match tail.strip_prefix(']') {
                    Some(t) => Ok((out, t)),
                    None if tail.is_empty() => Err("unexpected end of JSON path".into()),
                    None => Err(format!("expected ] but got {tail}")),
                };
            }
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('a') => out.push('\u{7}'),
                Some('b') => out.push('\u{8}'),
                Some('f') => out.push('\u{c}'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('v') => out.push('\u{b}'),
                Some(c @ ('\\' | '\'')) => out.push(c),
                _ => return Err("invalid string literal: invalid escape character".into()),
            },
            c => out.push(c),
        }
    }
    Err(format!("expected single quoted string but got '{inside}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn paths_lead_to_fields() {
        let s = Schema::read(&json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b.c": {"type": "string"}}},
            "m": {"type": "object", "additionalProperties": {"type": "integer"}}}}));
        assert_eq!(field_path(".a['b.c']", &s, true).unwrap().shown, ".a.b.c");
        assert_eq!(field_path(".m.x", &s, true).unwrap().shown, ".m[x]");
        for (path, why) in [
            (".x", "does not refer to a valid field"),
            ("a", "expected [ or . but got: a"),
            (".", "unexpected end of JSON path"),
            (".a[0]", "expected single quoted string but got 0"),
        ] {
            assert_eq!(field_path(path, &s, true).unwrap_err(), why, "{path}");
        }
        assert_eq!(field_path(".a['b.c']", &s, false).unwrap_err(), "array notation is not allowed");
    }
}
