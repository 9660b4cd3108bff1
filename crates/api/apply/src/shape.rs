//! How a value merges: out of the built-in tables, a structural schema of a CRD, or deduced from the value.
use crate::{Element, Scalar};
use skiff_json::Value;
use skiff_schema::{Field, Kind, ListType, Ty, Type};
use smol_str::SmolStr;

/// A node of a schema. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'a> {
    /// A struct of the tables.
    Struct(&'static Type),
    /// A field of a struct with its markers.
    Field(&'static Field),
    /// The items or values below a field.
    Inner(&'static Ty),
    /// A structural schema (`openAPIV3Schema` or a part of it).
    Open(&'a Value),
    /// The root of a custom resource: `metadata` is typed, the rest follows the schema (Null: none).
    Custom(&'a Value),
    /// Nothing known: maps merge by field, lists are atomic.
    Deduced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Owned and replaced as a whole; scalars too.
    Atomic,
    Map,
    Set,
    Keyed,
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

impl<'a> Shape<'a> {
    /// How the value at this node merges, when it has the type that the schema expects.
    pub fn relation(&self) -> Relation {
        match self {
            Shape::Struct(t) if t.atomic => Relation::Atomic,
            Shape::Struct(_) | Shape::Custom(_) => Relation::Map,
            Shape::Field(f) if f.atomic => Relation::Atomic,
            Shape::Field(f) => match (f.ty.kind, f.list) {
                (Kind::List(_), ListType::Map) => Relation::Keyed,
                (Kind::List(_), ListType::Set) => Relation::Set,
                (Kind::List(_), _) => Relation::Atomic,
                // The field's marker overrides its type's.
                (Kind::Ref(_) | Kind::Map(_), _) if f.granular => Relation::Map,
                _ => of_type(&f.ty),
            },
            Shape::Inner(ty) => of_type(ty),
            Shape::Open(s) => of_open(s),
            Shape::Deduced => Relation::Map,
        }
    }
    /// The type at this node, of a field of the tables.
    pub(crate) fn ty(&self) -> Option<&'static Ty> {
        match *self {
            Shape::Field(f) => Some(&f.ty),
            Shape::Inner(ty) => Some(ty),
            _ => None,
        }
    }
    /// The node of a map's field.
    pub fn field(&self, name: &str) -> Shape<'a> {
        match *self {
            Shape::Struct(t) => t.field(name).map_or(Shape::Deduced, Shape::Field),
            Shape::Field(f) => below(&f.ty, name),
            Shape::Inner(ty) => below(ty, name),
            Shape::Custom(_) if name == "metadata" => skiff_schema::by_name(OBJECT_META).map_or(Shape::Deduced, Shape::Struct),
            Shape::Open(s) | Shape::Custom(s) => open_field(s, name),
            Shape::Deduced => Shape::Deduced,
        }
    }
    /// The node of a list's items.
    pub fn item(&self) -> Shape<'a> {
        match *self {
            Shape::Field(f) => items(&f.ty),
            Shape::Inner(ty) => items(ty),
            Shape::Open(s) => s.get("items").map_or(Shape::Deduced, Shape::Open),
            _ => Shape::Deduced,
        }
    }
    pub(crate) fn step(&self, e: &Element) -> Shape<'a> {
        match e {
            Element::Field(name) => self.field(name),
            _ => self.item(),
        }
    }
    /// Whether a struct (not a free map) declares the field.
    pub fn declares(&self, name: &str) -> bool {
        match self {
            Shape::Struct(t) => t.field(name).is_some(),
            Shape::Field(f) => f.ty.struct_type().is_some_and(|t| t.field(name).is_some()),
            Shape::Inner(ty) => ty.struct_type().is_some_and(|t| t.field(name).is_some()),
            Shape::Custom(_) if matches!(name, "metadata" | "apiVersion" | "kind") => true,
            Shape::Open(s) | Shape::Custom(s) => s.get("properties").and_then(|p| p.get(name)).is_some(),
            Shape::Deduced => false,
        }
    }
    /// Whether a map at this node may not have the field: a struct without it, an object that is closed.
    pub(crate) fn forbids(&self, name: &str) -> bool {
        let closed = match self {
            Shape::Struct(_) => true,
            Shape::Field(f) => f.ty.struct_type().is_some(),
            Shape::Inner(ty) => ty.struct_type().is_some(),
            Shape::Open(s) | Shape::Custom(s) => closed(s, name),
            Shape::Deduced => false,
        };
        closed && !self.declares(name)
    }
    /// The path element of an item of a keyed list; absent keys take their default. None: a key is missing.
    pub fn key_of(&self, item: &Value) -> Option<Element> {
        let inner = self.item();
        let names = self.keys();
        let mut key: Vec<(SmolStr, Scalar)> = Vec::with_capacity(names.len());
        for name in names {
            match item.get(name).filter(|v| !v.is_null()) {
                Some(v) => key.push((name.into(), Scalar::of(v))),
                None => {
                    if let Some(d) = inner.default_of(name) {
                        key.push((name.into(), Scalar::of(&d)));
                    }
                }
            }
        }
        key.sort();
        (!key.is_empty() && item.is_object()).then(|| Element::Key(key.into()))
    }
    pub(crate) fn keys(&self) -> Vec<&'a str> {
        match *self {
            Shape::Field(f) => f.keys().to_vec(),
            Shape::Open(s) => s.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
    fn default_of(&self, name: &str) -> Option<Value> {
        match *self {
            Shape::Struct(t) => skiff_json::from_str(t.field(name)?.default()?).ok(),
            Shape::Inner(ty) => skiff_json::from_str(ty.struct_type()?.field(name)?.default()?).ok(),
            Shape::Open(s) => s.get("properties")?.get(name)?.get("default").cloned(),
            _ => None,
        }
    }
}

fn of_type(ty: &Ty) -> Relation {
    match ty.kind {
        Kind::Ref(t) if t.atomic => Relation::Atomic,
        Kind::Ref(_) | Kind::Map(_) => Relation::Map,
        _ => Relation::Atomic,
    }
}
fn below(ty: &'static Ty, name: &str) -> Shape<'static> {
    match ty.kind {
        Kind::Ref(t) => t.field(name).map_or(Shape::Deduced, Shape::Field),
        Kind::Map(m) => Shape::Inner(&m.value),
        _ => Shape::Deduced,
    }
}
fn items(ty: &'static Ty) -> Shape<'static> {
    match ty.kind {
        Kind::List(inner) => Shape::Inner(inner),
        _ => Shape::Deduced,
    }
}
fn closed(s: &Value, name: &str) -> bool {
    let set = |k: &str| s.get(k).is_some_and(|v| *v == Value::Bool(true));
    let identity = set("x-kubernetes-embedded-resource") && matches!(name, "metadata" | "apiVersion" | "kind");
    let some = s.get("properties").and_then(Value::as_object).is_some_and(|m| !m.is_empty());
    some && s.get("additionalProperties").is_none() && !set("x-kubernetes-preserve-unknown-fields") && !identity
}
fn of_open(s: &Value) -> Relation {
    let text = |k: &str| s.get(k).and_then(Value::as_str).unwrap_or_default();
    if s.get("x-kubernetes-int-or-string").is_some_and(|v| v == &Value::Bool(true)) {
        return Relation::Atomic;
    }
    match (text("type"), text("x-kubernetes-list-type"), text("x-kubernetes-map-type")) {
        ("array", "map", _) => Relation::Keyed,
        ("array", "set", _) => Relation::Set,
        ("array", ..) => Relation::Atomic,
        ("object", _, "atomic") => Relation::Atomic,
        ("object", ..) | ("", ..) => Relation::Map,
        _ => Relation::Atomic,
    }
}
fn open_field<'a>(s: &'a Value, name: &str) -> Shape<'a> {
    if let Some(f) = s.get("properties").and_then(|p| p.get(name)) {
        return Shape::Open(f);
    }
    match s.get("additionalProperties") {
        Some(a) if a.is_object() => Shape::Open(a),
        _ => Shape::Deduced,
    }
}
