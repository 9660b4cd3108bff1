//! What a checker knows of a value: its type, and how large it may be.
use std::{collections::BTreeMap, fmt, sync::Arc};

/// No bound is known.
pub const UNBOUNDED: u64 = u64::MAX;

#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    pub kind: Kind,
    /// The most bytes of a text, items of a list, entries of a map; 1 for what has no size.
    pub max: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Anything: checked when it is evaluated.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Object(Arc<Object>),
    Optional(Arc<Type>),
    /// A type as a value.
    Type,
    /// Of a library, by its name: `kubernetes.Quantity`.
    Opaque(&'static str),
}

/// Fields by the names that expressions use.
#[derive(Debug, PartialEq)]
pub struct Object {
    pub name: String,
    pub fields: BTreeMap<String, Type>,
}

impl Type {
    /// A type whose values have no size.
    pub fn new(kind: Kind) -> Self {
        let sized = matches!(kind, Kind::Dyn | Kind::String | Kind::Bytes | Kind::List(_) | Kind::Map(..));
        Self { kind, max: if sized { UNBOUNDED } else { 1 } }
    }
    pub fn sized(kind: Kind, max: u64) -> Self {
        Self { kind, max }
    }
    pub fn list(item: Type, max: u64) -> Self {
        Self::sized(Kind::List(Arc::new(item)), max)
    }
    pub fn map(value: Type, max: u64) -> Self {
        Self::sized(Kind::Map(Arc::new(Type::new(Kind::String)), Arc::new(value)), max)
    }
    pub fn optional(inner: Type) -> Self {
        let max = inner.max;
        Self::sized(Kind::Optional(Arc::new(inner)), max)
    }
    pub(crate) fn is(&self, kind: &Kind) -> bool {
        self.kind == *kind
    }
    pub(crate) fn is_dyn(&self) -> bool {
        self.is(&Kind::Dyn)
    }
    /// Whether a value of this type may stand where `other` is asked for, or the other way round.
    pub(crate) fn fits(&self, other: &Type) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Dyn, _) | (_, Kind::Dyn) => true,
            (Kind::Null, k) | (k, Kind::Null) => {
                matches!(k, Kind::Null | Kind::Object(_) | Kind::Opaque(_) | Kind::Timestamp | Kind::Duration | Kind::Optional(_))
            }
            (Kind::List(a), Kind::List(b)) | (Kind::Optional(a), Kind::Optional(b)) => a.fits(b),
            (Kind::Map(a, b), Kind::Map(c, d)) => a.fits(c) && b.fits(d),
            (Kind::Object(a), Kind::Object(b)) => a.name == b.name,
            (a, b) => a == b,
        }
    }
    /// One type for both, as branches and items have it.
    pub(crate) fn join(&self, other: &Type) -> Type {
        let max = self.max.max(other.max);
        match (&self.kind, &other.kind) {
            _ if !self.fits(other) => Type::sized(Kind::Dyn, max),
            (Kind::Dyn, _) | (Kind::Null, _) => Type::sized(other.kind.clone(), max),
            (Kind::List(a), Kind::List(b)) => Type::list(a.join(b), max),
            (kind, _) => Type::sized(kind.clone(), max),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Dyn => f.write_str("dyn"),
            Kind::Null => f.write_str("null"),
            Kind::Bool => f.write_str("bool"),
            Kind::Int => f.write_str("int"),
            Kind::Uint => f.write_str("uint"),
            Kind::Double => f.write_str("double"),
            Kind::String => f.write_str("string"),
            Kind::Bytes => f.write_str("bytes"),
            Kind::Timestamp => f.write_str("timestamp"),
            Kind::Duration => f.write_str("duration"),
            Kind::List(t) => write!(f, "list({t})"),
            Kind::Map(k, v) => write!(f, "map({k}, {v})"),
            Kind::Object(o) => f.write_str(&o.name),
            Kind::Optional(t) => write!(f, "optional_type({t})"),
            Kind::Type => f.write_str("type"),
            Kind::Opaque(name) => f.write_str(name),
        }
    }
}
