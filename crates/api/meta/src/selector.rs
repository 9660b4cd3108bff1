//! Label and field selectors in the string form of query parameters.
use std::{collections::BTreeMap, fmt};
use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SelectorError(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOp {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

impl SetOp {
    /// As `matchExpressions` of labels and of nodes name it.
    pub fn named(operator: &str) -> Option<Self> {
        Some(match operator {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub op: SetOp,
    pub values: Vec<String>,
}

/// All requirements must hold; none matches everything. [`LabelSelector::nothing`] matches nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LabelSelector {
    pub requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    pub fn matches(&self, value: Option<&str>) -> bool {
        let number = |s: &str| s.parse::<i64>().ok();
        match (self.op, value) {
            (SetOp::In, v) => v.is_some_and(|v| self.values.iter().any(|x| x == v)),
            (SetOp::NotIn, v) => v.is_none_or(|v| self.values.iter().all(|x| x != v)),
            (SetOp::Exists, v) => v.is_some(),
            (SetOp::DoesNotExist, v) => v.is_none(),
            (SetOp::Gt, Some(v)) => matches!((number(v), self.values.first().and_then(|x| number(x))), (Some(a), Some(b)) if a > b),
            (SetOp::Lt, Some(v)) => matches!((number(v), self.values.first().and_then(|x| number(x))), (Some(a), Some(b)) if a < b),
            (SetOp::Gt | SetOp::Lt, None) => false,
        }
    }
}

impl LabelSelector {
    pub fn everything() -> Self {
        Self::default()
    }
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|k| labels.get(k).map(String::as_str))
    }
    pub fn matches_with<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(get(&r.key)))
    }
    /// `a=b,c!=d,e in (f,g),!h,i,j>1`; errors as upstream's parser words them.
    pub fn parse(s: &str) -> Result<Self, SelectorError> {
        let requirements = Parser { rest: s }.requirements()?;
        Ok(Self { requirements, nothing: false })
    }
    /// Equality on every pair, as ReplicationController and Service selectors have it.
    pub fn from_map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let requirements = pairs.into_iter().map(|(k, v)| Requirement { key: k.into(), op: SetOp::In, values: vec![v.into()] }).collect();
        Self { requirements, nothing: false }
    }
    /// A `metav1.LabelSelector`: `matchLabels` and `matchExpressions`; None (absent) matches nothing, `{}` everything.
    pub fn from_json(v: Option<&skiff_json::Value>) -> Result<Self, SelectorError> {
        let Some(v) = v.filter(|v| !v.is_null()) else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (k, x) in v.get("matchLabels").and_then(|m| m.as_object()).into_iter().flatten() {
            requirements.push(Requirement { key: k.to_string(), op: SetOp::In, values: vec![x.as_str().unwrap_or_default().to_owned()] });
        }
        for e in v.get("matchExpressions").and_then(|m| m.as_array()).into_iter().flatten() {
            let op = e["operator"].as_str().unwrap_or_default();
            let op = SetOp::named(op).ok_or_else(|| SelectorError(format!("{op:?} is not a valid label selector operator")))?;
            let values = e["values"].as_array().into_iter().flatten().filter_map(|x| x.as_str().map(str::to_owned)).collect();
            requirements.push(Requirement { key: e["key"].as_str().unwrap_or_default().to_owned(), op, values });
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match (r.op, r.values.as_slice()) {
                (SetOp::In, [v]) => write!(f, "{}={v}", r.key)?,
                (SetOp::In, vs) => write!(f, "{} in ({})", r.key, vs.join(","))?,
                (SetOp::NotIn, [v]) => write!(f, "{}!={v}", r.key)?,
                (SetOp::NotIn, vs) => write!(f, "{} notin ({})", r.key, vs.join(","))?,
                (SetOp::Exists, _) => write!(f, "{}", r.key)?,
                (SetOp::DoesNotExist, _) => write!(f, "!{}", r.key)?,
                (SetOp::Gt, vs) => write!(f, "{}>{}", r.key, vs.join(","))?,
                (SetOp::Lt, vs) => write!(f, "{}<{}", r.key, vs.join(","))?,
            }
        }
        Ok(())
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn token(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let special = |c: char| matches!(c, '=' | '!' | '<' | '>' | '(' | ')' | ',');
        let n = match self.rest.chars().next() {
            None => 0,
            Some(c) if special(c) => {
                if self.rest.starts_with("==") || self.rest.starts_with("!=") {
                    2
                } else {
                    1
                }
            }
            Some(_) => self.rest.find(|c: char| special(c) || c.is_whitespace()).unwrap_or(self.rest.len()),
        };
        let (t, rest) = self.rest.split_at(n);
        self.rest = rest;
        t
    }
    fn peek(&self) -> &'a str {
        Parser { rest: self.rest }.token()
    }
    fn requirements(mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut out = Vec::new();
        if self.peek().is_empty() {
            return Ok(out);
        }
        loop {
            out.push(self.requirement()?);
            match self.token() {
                "" => break,
                "," if !matches!(self.peek(), "" | ",") => {}
                "," => return Err(SelectorError(format!("found '{}', expected: identifier after ','", self.peek()))),
                t => return Err(SelectorError(format!("found '{t}', expected: ',' or 'end of string'"))),
            }
        }
        out.sort_by(|a: &Requirement, b| a.key.cmp(&b.key));
        Ok(out)
    }
    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let first = self.token();
        let (negated, key) = if first == "!" { (true, self.token()) } else { (false, first) };
        if key.is_empty() || key.starts_with(|c: char| "=!<>(),".contains(c)) {
            let expected = if negated { "identifier" } else { "!, identifier, or 'end of string'" };
            return Err(SelectorError(format!("found '{key}', expected: {expected}")));
        }
        crate::is_qualified_name(key)
            .map_err(|e| SelectorError(format!("key: Invalid value: {key:?}: {}", e.iter().map(|e| e.0.as_str()).collect::<Vec<_>>().join("; "))))?;
        let key = key.to_owned();
        if negated {
            return Ok(Requirement { key, op: SetOp::DoesNotExist, values: vec![] });
        }
        let (op, values) = match self.peek() {
            "" | "," => (SetOp::Exists, vec![]),
            "=" | "==" => (SetOp::In, vec![self.exact()?]),
            "!=" => (SetOp::NotIn, vec![self.exact()?]),
            ">" => (SetOp::Gt, vec![self.exact()?]),
            "<" => (SetOp::Lt, vec![self.exact()?]),
            "in" => (SetOp::In, self.set()?),
            "notin" => (SetOp::NotIn, self.set()?),
            t => return Err(SelectorError(format!("found '{t}', expected: in, notin, =, ==, !=, gt, lt"))),
        };
        for v in &values {
            crate::is_label_value(v).map_err(|e| SelectorError(format!("values[0][{key}]: Invalid value: {v:?}: {}", e[0].0)))?;
            if matches!(op, SetOp::Gt | SetOp::Lt) && v.parse::<i64>().is_err() {
                return Err(SelectorError(format!("values[0]: Invalid value: {v:?}: for 'Gt', 'Lt' operators, the value must be an integer")));
            }
        }
        Ok(Requirement { key, op, values })
    }
    fn exact(&mut self) -> Result<String, SelectorError> {
        self.token();
        match self.peek() {
            "" | "," => Ok(String::new()),
            t if t.starts_with(|c: char| "=!<>()".contains(c)) => Err(SelectorError(format!("found '{t}', expected: identifier"))),
            _ => Ok(self.token().to_owned()),
        }
    }
    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        self.token();
        if self.token() != "(" {
            return Err(SelectorError(format!("found '{}' expected: '('", self.peek())));
        }
        let mut values = Vec::new();
        loop {
            match self.token() {
                ")" => break,
                "" => return Err(SelectorError("found '', expected: ',' or ')'".into())),
                "," => {
                    if matches!(self.peek(), "," | ")") {
                        values.push(String::new());
                    }
                }
                v => values.push(v.to_owned()),
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }
}

/// `metadata.name=a,spec.nodeName!=b`: equality terms only.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FieldSelector {
    /// Path, value, and whether it must be equal (false: must differ).
    pub terms: Vec<(String, String, bool)>,
}

impl FieldSelector {
    /// A backslash escapes `\`, `,` and `=` in values.
    pub fn parse(s: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for term in split_unescaped(s) {
            if term.is_empty() {
                continue;
            }
            let bad = || SelectorError(format!("invalid selector: '{s}'; can't understand '{term}'"));
            let at = term.find(['=', '!']).ok_or_else(bad)?;
            let (path, rest) = term.split_at(at);
            let (value, equal) = match rest {
                r if r.starts_with("!=") => (&r[2..], false),
                r if r.starts_with("==") => (&r[2..], true),
                r if r.starts_with('=') => (&r[1..], true),
                _ => return Err(bad()),
            };
            if let Some(c) = unescaped(value) {
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {}", c as u32)));
            }
            terms.push((path.to_owned(), unescape(value), equal));
        }
        Ok(Self { terms })
    }
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }
    /// `get` answers a field's value; None for a field that the kind cannot select by is the caller's error.
    pub fn matches_with<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|(p, v, eq)| (get(p).unwrap_or_default() == v) == *eq)
    }
    /// The value that `path` must equal, if a term says so.
    pub fn required(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|(p, _, eq)| p == path && *eq).map(|(_, v, _)| v.as_str())
    }
}

fn split_unescaped(s: &str) -> Vec<&str> {
    let (mut out, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in s.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&s[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&s[start..]);
    out
}
/// What should have a backslash before it.
fn unescaped(s: &str) -> Option<char> {
    let mut chars = s.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '=' => return Some(c),
            _ => {}
        }
    }
    None
}
fn unescape(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut chars = s.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (p, v, eq)) in self.terms.iter().enumerate() {
            let v = v.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{}{p}{}{v}", if i > 0 { "," } else { "" }, if *eq { "=" } else { "!=" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn labels(s: &str) -> BTreeMap<String, String> {
        s.split(',').filter(|s| !s.is_empty()).map(|p| p.split_once('=').unwrap()).map(|(a, b)| (a.into(), b.into())).collect()
    }
    #[test]
    fn label_selectors() {
        for (sel, ls, want) in [
            ("", "a=b", true),
            ("a=b", "a=b", true),
            ("a==b,c", "a=b", false),
            ("a!=b", "", true),
            ("a in (x, b)", "a=b", true),
            ("a notin (b)", "a=b", false),
            ("!a", "a=b", false),
            ("n>1", "n=2", true),
            ("n<1", "n=2", false),
            ("a=", "a=", true),
        ] {
            assert_eq!(LabelSelector::parse(sel).unwrap().matches(&labels(ls)), want, "{sel} on {ls}");
        }
        for bad in ["a=b=c", "a in x", ",a", "a,", "a in (b", "()", "_x=1"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
        assert!(!LabelSelector::nothing().matches(&labels("")));
    }
    #[test]
    fn field_selectors() {
        let s = FieldSelector::parse("metadata.name=a\\,b,spec.nodeName!=n").unwrap();
        assert!(s.matches_with(|p| Some(if p == "metadata.name" { "a,b" } else { "m" })));
        assert_eq!(s.required("metadata.name"), Some("a,b"));
        assert!(FieldSelector::parse("abc").is_err());
    }
}
