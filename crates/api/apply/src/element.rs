//! One step of a path to a field.
use skiff_json::Value;
use smol_str::{SmolStr, ToSmolStr};
use std::{cmp::Ordering, fmt, sync::Arc};

/// A scalar inside a key or a set: ordered and hashable, unlike a JSON value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    Int(i64),
    /// A number that is no i64, as its JSON text.
    Number(SmolStr),
    String(SmolStr),
    Bool(bool),
    Null,
    /// A list or map in a set, as compact JSON text.
    Json(SmolStr),
}

impl Scalar {
    pub fn of(v: &Value) -> Self {
        match v {
            Value::Null => Scalar::Null,
            Value::Bool(b) => Scalar::Bool(*b),
            Value::String(s) => Scalar::String(s.into()),
            Value::Number(n) => n.as_i64().map_or_else(|| Scalar::Number(n.to_smolstr()), Scalar::Int),
            other => Scalar::Json(other.to_smolstr()),
        }
    }
    pub fn to_json(&self) -> Value {
        match self {
            Scalar::Int(n) => (*n).into(),
            Scalar::Number(s) | Scalar::Json(s) => skiff_json::from_str(s).unwrap_or(Value::Null),
            Scalar::String(s) => s.as_str().into(),
            Scalar::Bool(b) => (*b).into(),
            Scalar::Null => Value::Null,
        }
    }
}
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

/// A field of a map, an item of a keyed list, a member of a set, or a position. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    Field(SmolStr),
    /// Key fields, sorted by name.
    Key(Arc<[(SmolStr, Scalar)]>),
    Value(Scalar),
    Index(usize),
}

impl Element {
    pub fn field(name: &str) -> Self {
        Element::Field(name.into())
    }
    fn rank(&self) -> u8 {
        match self {
            Element::Field(_) => 0,
            Element::Key(_) => 1,
            Element::Value(_) => 2,
            Element::Index(_) => 3,
        }
    }
}
impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Element::Field(a), Element::Field(b)) => a.cmp(b),
            (Element::Key(a), Element::Key(b)) => a.cmp(b),
            (Element::Value(a), Element::Value(b)) => a.cmp(b),
            (Element::Index(a), Element::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(n) => write!(f, ".{n}"),
            Element::Key(k) => {
                f.write_str("[")?;
                for (i, (name, v)) in k.iter().enumerate() {
                    write!(f, "{}{name}={v}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Element::Value(v) => write!(f, "[={v}]"),
            Element::Index(i) => write!(f, "[{i}]"),
        }
    }
}

/// A whole path, as `.spec.containers[name="a"].image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Element>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|e| e.fmt(f))
    }
}
