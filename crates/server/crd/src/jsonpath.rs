//! kubectl's dialect of JSONPath, as columns, selectable fields and scale paths use it: fields, indexes, slices,
//! wildcards, descent, filters that compare. What a path does not find is no error. Templates with text around are not here.
use skiff_json::Value;

/// A compiled path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Every,
    Descend,
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    Union(Vec<Step>),
    Filter { left: Operand, op: Op, right: Option<Operand> },
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Exists,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Paths are at most so long, and filters so deep.
const MAX_LENGTH: usize = 4096;

impl JsonPath {
    /// Reads `.a.b[0]`, with or without the leading dot; the error says where it stops making sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err("path too long".into());
        }
        let (mut rest, mut steps) = (text.strip_prefix('$').unwrap_or(text), Vec::new());
        let mut first = true;
        while !rest.is_empty() {
            rest = match rest.as_bytes() {
                [b'.', b'.', ..] => {
                    steps.push(Step::Descend);
                    if rest[2..].starts_with('[') { &rest[2..] } else { name(&rest[2..], &mut steps)? }
                }
                [b'.'] => "",
                [b'.', b'[', ..] => &rest[1..],
                [b'.', ..] => name(&rest[1..], &mut steps)?,
                [b'[', ..] => {
                    let (inside, rest) = bracket(&rest[1..])?;
                    steps.push(subscript(inside)?);
                    rest
                }
                _ if first => name(rest, &mut steps)?,
                _ => return Err(format!("unexpected {rest:?}")),
            };
            first = false;
        }
        Ok(Self(steps))
    }
    /// Everything that the path finds, in order.
    pub fn find<'v>(&self, v: &'v Value) -> Vec<&'v Value> {
        self.0.iter().fold(vec![v], |found, step| found.into_iter().flat_map(|v| step.find(v)).collect())
    }
    pub fn first<'v>(&self, v: &'v Value) -> Option<&'v Value> {
        self.find(v).into_iter().next()
    }
}

/// A field's name up to the next step; backslashes escape.
fn name<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, String> {
    let (mut out, mut chars) = (String::new(), text.char_indices());
    let mut end = text.len();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => {
                end = i;
                break;
            }
            c if c.is_whitespace() || matches!(c, '{' | '}') => return Err(format!("unexpected character {c:?}")),
            c => out.push(c),
        }
    }
    if out.is_empty() {
        return Err("a field without a name".into());
    }
    steps.push(if out == "*" { Step::Every } else { Step::Field(out) });
    Ok(&text[end..])
}

/// What is between a bracket that was opened and its end, and what follows.
fn bracket(text: &str) -> Result<(&str, &str), String> {
    let (mut depth, mut quote, mut escaped) = (1, None, false);
    for (i, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', Some(_)) => escaped = true,
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('[', None) => depth += 1,
            (']', None) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok((&text[..i], &text[i + 1..]));
        }
    }
    Err("unterminated array".into())
}

fn subscript(text: &str) -> Result<Step, String> {
    let text = text.trim();
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return self::filter(filter.trim());
    }
    let parts = split(text, ',');
    if parts.len() > 1 {
        return Ok(Step::Union(parts.into_iter().map(subscript).collect::<Result<_, _>>()?));
    }
    if text == "*" {
        return Ok(Step::Every);
    }
    if let Some(s) = unquoted(text) {
        return Ok(Step::Field(s));
    }
    if let Some((from, to)) = text.split_once(':') {
        let number = |t: &str| if t.is_empty() { Ok(None) } else { t.parse().map(Some).map_err(|_| format!("invalid array index {text}")) };
        return Ok(Step::Slice(number(from)?, number(to)?));
    }
    text.parse().map(Step::Index).map_err(|_| format!("invalid array index {text}"))
}

/// Parts between separators that are not quoted.
fn split(text: &str, by: char) -> Vec<&str> {
    let (mut parts, mut quote, mut start) = (Vec::new(), None, 0);
    for (i, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (c, None) if c == by => {
                parts.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unquoted(text: &str) -> Option<String> {
    let q = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inside = text.strip_prefix(q)?.strip_suffix(q)?;
    let (mut out, mut chars) = (String::new(), inside.chars());
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Some(out)
}

fn filter(text: &str) -> Result<Step, String> {
    const OPS: [(&str, Op); 6] = [("==", Op::Equal), ("!=", Op::Unequal), ("<=", Op::LessEqual), (">=", Op::GreaterEqual), ("<", Op::Less), (">", Op::Greater)];
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (_, None) => {
                if let Some((sign, op)) = OPS.iter().find(|(s, _)| text[i..].starts_with(s)) {
                    let (left, right) = (operand(&text[..i])?, operand(&text[i + sign.len()..])?);
                    return Ok(Step::Filter { left, op: *op, right: Some(right) });
                }
            }
            _ => {}
        }
    }
    Ok(Step::Filter { left: operand(text)?, op: Op::Exists, right: None })
}

fn operand(text: &str) -> Result<Operand, String> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix('@') {
        return JsonPath::parse(path).map(Operand::Path);
    }
    if let Some(s) = unquoted(text) {
        return Ok(Operand::Literal(s.into()));
    }
    skiff_json::from_str(text).map(Operand::Literal).map_err(|_| format!("unrecognized value {text:?} in a filter"))
}

impl Step {
    fn find<'v>(&self, v: &'v Value) -> Vec<&'v Value> {
        match (self, v) {
            (Step::Field(name), Value::Object(m)) => m.get(name).into_iter().collect(),
            (Step::Every, Value::Object(m)) => m.values().collect(),
            (Step::Every, Value::Array(a)) => a.iter().collect(),
            (Step::Descend, v) => descend(v),
            (Step::Index(i), Value::Array(a)) => place(*i, a.len()).and_then(|i| a.get(i)).into_iter().collect(),
            (Step::Slice(from, to), Value::Array(a)) => {
                let edge = |i: &Option<i64>, open| {
                    i.map_or(open, |i| if i < 0 { a.len().saturating_sub(i.unsigned_abs() as usize) } else { (i as usize).min(a.len()) })
                };
                let (from, to) = (edge(from, 0), edge(to, a.len()));
                a.get(from..to.max(from)).unwrap_or_default().iter().collect()
            }
            (Step::Union(all), v) => all.iter().flat_map(|s| s.find(v)).collect(),
            (Step::Filter { left, op, right }, Value::Array(a)) => a.iter().filter(|v| passes(v, left, *op, right.as_ref())).collect(),
            _ => Vec::new(),
        }
    }
}

fn place(i: i64, len: usize) -> Option<usize> {
    if i < 0 { len.checked_sub(i.unsigned_abs() as usize) } else { usize::try_from(i).ok() }
}

fn descend(v: &Value) -> Vec<&Value> {
    let below: Vec<&Value> = match v {
        Value::Object(m) => m.values().collect(),
        Value::Array(a) => a.iter().collect(),
        _ => Vec::new(),
    };
    std::iter::once(v).chain(below.into_iter().flat_map(descend)).collect()
}

fn passes(v: &Value, left: &Operand, op: Op, right: Option<&Operand>) -> bool {
    let Some(a) = left.value(v) else { return false };
    let Some(b) = right.map(|r| r.value(v)) else { return true };
    let Some(b) = b else { return false };
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    match op {
        Op::Exists => true,
        Op::Equal => crate::schema::same(a, b),
        Op::Unequal => !crate::schema::same(a, b),
        Op::Less => order.is_some_and(|o| o.is_lt()),
        Op::LessEqual => order.is_some_and(|o| o.is_le()),
        Op::Greater => order.is_some_and(|o| o.is_gt()),
        Op::GreaterEqual => order.is_some_and(|o| o.is_ge()),
    }
}

impl Operand {
    fn value<'v>(&'v self, v: &'v Value) -> Option<&'v Value> {
        match self {
            Operand::Path(p) => p.first(v),
            Operand::Literal(l) => Some(l),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn paths_find_what_kubectl_finds() {
        let v = json!({"a": {"b": [1, 2, 3], "x.y": "z"}, "c": [{"type": "Ready", "status": "True", "n": 3}, {"type": "Other", "status": "False", "n": 5}]});
        for (path, want) in [
            (".a.b[1]", json!([2])),
            ("a.b[-1]", json!([3])),
            (".a.b[0:2]", json!([1, 2])),
            (".a.b[*]", json!([1, 2, 3])),
            (r".a.x\.y", json!(["z"])),
            (".a['x.y']", json!(["z"])),
            (r#".c[?(@.type=="Ready")].status"#, json!(["True"])),
            (".c[?(@.n > 4)].type", json!(["Other"])),
            (".c[?(@.n)].n", json!([3, 5])),
            (".c..n", json!([3, 5])),
            (".a.b[0,2]", json!([1, 3])),
            (".none.at.all", json!([])),
        ] {
            let found = JsonPath::parse(path).unwrap();
            assert_eq!(json!(found.find(&v)), want, "{path}");
        }
        for bad in [".a[", ".a[x]", ".a b", "..", ".a[?(@.x==y)]"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
    }
}
