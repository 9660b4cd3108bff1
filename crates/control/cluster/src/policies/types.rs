//! Built-in types as expressions see them, out of the tables of the schema.
use skiff_cel::check::{Kind, Object, Type};
use skiff_meta::GroupVersionKind;
use skiff_schema::{Kind as Is, Ty};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Types that hold themselves are taken for anything from here on.
const DEPTH: usize = 16;
/// Of the names of built-in fields only these are words of the language.
const RESERVED: [&str; 4] = ["namespace", "continue", "import", "package"];

/// None: a type that is not built in, which is taken for anything.
pub(super) fn of(kind: &GroupVersionKind) -> Option<Type> {
    skiff_schema::by_gvk(&kind.group, &kind.version, &kind.kind).map(|t| object(t, 0))
}

fn object(t: &'static skiff_schema::Type, depth: usize) -> Type {
    if depth > DEPTH {
        return Type::new(Kind::Dyn);
    }
    let mut fields = BTreeMap::new();
    for f in t.fields {
        let ty = field(&f.ty, depth + 1);
        // Words of the language may be written with or without their underscores.
        if RESERVED.contains(&f.name) {
            fields.insert(format!("__{}__", f.name), ty.clone());
        }
        fields.insert(f.name.to_owned(), ty);
    }
    Type::new(Kind::Object(Arc::new(Object { name: t.name.to_owned(), fields })))
}

fn field(ty: &'static Ty, depth: usize) -> Type {
    match ty.kind {
        Is::String | Is::Duration => Type::new(Kind::String),
        Is::Bool => Type::new(Kind::Bool),
        Is::Int32 | Is::Int64 => Type::new(Kind::Int),
        Is::Float64 => Type::new(Kind::Double),
        Is::Bytes => Type::new(Kind::Bytes),
        Is::Time | Is::MicroTime => Type::new(Kind::Timestamp),
        Is::Ref(t) => object(t, depth),
        Is::List(item) => Type::list(field(item, depth), skiff_cel::check::UNBOUNDED),
        Is::Map(m) => Type::map(field(&m.value, depth), skiff_cel::check::UNBOUNDED),
        _ => Type::new(Kind::Dyn),
    }
}

/// The request that brings the object.
pub(super) fn request() -> Type {
    let string = || Type::new(Kind::String);
    let object = |name: &str, fields: Vec<(&str, Type)>| {
        Type::new(Kind::Object(Arc::new(Object { name: name.into(), fields: fields.into_iter().map(|(n, t)| (n.to_owned(), t)).collect() })))
    };
    let kind = || object("kubernetes.GroupVersionKind", vec![("group", string()), ("version", string()), ("kind", string())]);
    let resource = || object("kubernetes.GroupVersionResource", vec![("group", string()), ("version", string()), ("resource", string())]);
    let strings = || Type::list(string(), skiff_cel::check::UNBOUNDED);
    let user = vec![("username", string()), ("uid", string()), ("groups", strings()), ("extra", Type::map(strings(), skiff_cel::check::UNBOUNDED))];
    object(
        "kubernetes.AdmissionRequest",
        vec![
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", string()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", string()),
            ("name", string()),
            ("namespace", string()),
            ("operation", string()),
            ("userInfo", object("kubernetes.UserInfo", user)),
            ("dryRun", Type::new(Kind::Bool)),
            ("options", Type::new(Kind::Dyn)),
        ],
    )
}
