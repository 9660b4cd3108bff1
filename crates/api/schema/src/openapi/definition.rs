//! The definition of one type.

use skiff_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::special::{Special, is_meta};
use crate::lookup::is_meta_kind;
use crate::types::{Field, Kind, ListType, Ty, Type};

/// Which OpenAPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    V2,
    V3,
}

/// Writes definitions of one document.
pub struct Writer<'a> {
    pub dialect: Dialect,
    pub descriptions: &'a Descriptions,
    /// Group versions that the kinds of every group are listed under.
    pub versions: Vec<(String, String)>,
}

impl Writer<'_> {
    pub fn special(&self, special: Special) -> Value {
        let mut schema = special.schema(self.dialect);
        if let (Value::Object(map), Some(text)) = (&mut schema, self.descriptions.get(special.name(), "")) {
            map.insert("description".to_owned(), json!(text));
            map.sort_keys();
        }
        schema
    }

    pub fn structure(&self, ty: &Type) -> Value {
        let mut out = Map::new();
        if let Some(text) = self.descriptions.get(ty.name, "") {
            out.insert("description".to_owned(), json!(text));
        }
        let mut fields: Vec<&Field> = ty.fields.iter().collect();
        fields.sort_by_key(|field| field.name);
        if !fields.is_empty() {
            let properties = fields.iter().map(|f| (f.name.to_owned(), self.property(ty, f))).collect();
            out.insert("properties".to_owned(), Value::Object(properties));
        }
        // In declared order, as upstream lists them.
        let required: Vec<&str> = ty.fields.iter().filter(|f| f.required).map(|f| f.name).collect();
        if !required.is_empty() {
            out.insert("required".to_owned(), json!(required));
        }
        out.insert("type".to_owned(), json!("object"));
        let kinds = self.kinds(ty);
        if !kinds.is_empty() {
            out.insert("x-kubernetes-group-version-kind".to_owned(), Value::Array(kinds));
        }
        if let Some(map_type) = map_type(ty.atomic, ty.granular) {
            out.insert("x-kubernetes-map-type".to_owned(), json!(map_type));
        }
        Value::Object(out)
    }

    fn kinds(&self, ty: &Type) -> Vec<Value> {
        let kind = ty.short_name();
        let package = ty.name.rsplit_once('.').map_or("", |(package, _)| package);
        let one = |group: &str, version: &str| json!({"group": group, "kind": kind, "version": version});
        if is_meta_kind(kind) && is_meta(package) {
            return self.versions.iter().map(|(group, version)| one(group, version)).collect();
        }
        if !ty.is_kind {
            return Vec::new();
        }
        if is_meta(package) && !matches!(kind, "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList") {
            return vec![one("", "v1")];
        }
        vec![one(ty.group, ty.version)]
    }

    fn property(&self, ty: &Type, field: &Field) -> Value {
        let mut extra = Map::new();
        let default = if self.dialect == Dialect::V3 { default_of(field) } else { None };
        if let Some(default) = default {
            extra.insert("default".to_owned(), default);
        }
        let described = self.descriptions.get(ty.name, field.name);
        if let Some(text) = described {
            extra.insert("description".to_owned(), json!(format!("{text}{}", possible(field))));
        }
        extensions(field, &mut extra);
        let mut schema = self.schema(&field.ty);
        enumerate(field, &mut schema);
        let is_ref = schema.contains_key("$ref");
        if is_ref && !extra.is_empty() && self.dialect == Dialect::V3 {
            // Siblings of a reference mean nothing in OpenAPI 3.0.
            extra.insert("allOf".to_owned(), json!([schema]));
            schema = Map::new();
        }
        schema.append(&mut extra);
        schema.sort_keys();
        Value::Object(schema)
    }

    fn schema(&self, ty: &Ty) -> Map {
        let value = match ty.kind {
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"format": "byte", "type": "string"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Int32 => json!({"format": "int32", "type": "integer"}),
            Kind::Int64 => json!({"format": "int64", "type": "integer"}),
            Kind::Float64 => json!({"format": "double", "type": "number"}),
            Kind::Any => json!({"type": "object"}),
            Kind::List(item) => json!({"items": self.schema(item), "type": "array"}),
            Kind::Map(map) => {
                json!({"additionalProperties": self.schema(&map.value), "type": "object"})
            }
            Kind::Ref(inner) => self.reference(inner.name),
            kind => match Special::of(kind) {
                Some(special) => self.reference(special.name()),
                None => json!({}),
            },
        };
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn reference(&self, name: &str) -> Value {
        match self.dialect {
            Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Dialect::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// The end of an enumeration's description. What each value means is upstream's prose, which no package carries.
fn possible(field: &Field) -> String {
    if field.values().is_empty() || !matches!(field.ty.kind, Kind::String) {
        return String::new();
    }
    let values: String = field.values().iter().map(|v| format!("\n - `{v:?}`")).collect();
    format!("\n\nPossible enum values:{values}")
}

/// `enum` on the string itself, on a list's items or on a map's values.
fn enumerate(field: &Field, schema: &mut Map) {
    if field.values().is_empty() {
        return;
    }
    let inner = match field.ty.kind {
        Kind::List(_) => schema.get_mut("items").and_then(Value::as_object_mut),
        Kind::Map(_) => schema.get_mut("additionalProperties").and_then(Value::as_object_mut),
        _ => Some(schema),
    };
    if let Some(inner) = inner {
        inner.insert("enum".to_owned(), json!(field.values()));
        inner.sort_keys();
    }
}

/// The `+default` marker, else the zero value that Go writes anyway.
fn default_of(field: &Field) -> Option<Value> {
    if let Some(default) = field.default() {
        return skiff_json::from_str(default).ok();
    }
    if field.pointer {
        return None;
    }
    match field.ty.kind {
        Kind::Ref(_) => Some(json!({})),
        _ if field.omit_empty => None,
        Kind::String => Some(json!("")),
        Kind::Bool => Some(json!(false)),
        Kind::Int32 | Kind::Int64 | Kind::Float64 => Some(json!(0)),
        _ => None,
    }
}

fn map_type(atomic: bool, granular: bool) -> Option<&'static str> {
    match (atomic, granular) {
        (true, _) => Some("atomic"),
        (false, true) => Some("granular"),
        (false, false) => None,
    }
}

fn extensions(field: &Field, out: &mut Map) {
    let list = match field.list {
        ListType::Unset => None,
        ListType::Atomic => Some("atomic"),
        ListType::Set => Some("set"),
        ListType::Map => Some("map"),
    };
    if !field.keys().is_empty() {
        out.insert("x-kubernetes-list-map-keys".to_owned(), json!(field.keys()));
    }
    if let Some(list) = list {
        out.insert("x-kubernetes-list-type".to_owned(), json!(list));
    }
    if let Some(map_type) = map_type(field.atomic, field.granular) {
        out.insert("x-kubernetes-map-type".to_owned(), json!(map_type));
    }
    if !field.merge_key().is_empty() {
        out.insert("x-kubernetes-patch-merge-key".to_owned(), json!(field.merge_key()));
    }
    let flags = [(field.patch.merge, "merge"), (field.patch.replace, "replace"), (field.patch.retain_keys, "retainKeys")];
    let strategies: Vec<&str> = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    if !strategies.is_empty() {
        out.insert("x-kubernetes-patch-strategy".to_owned(), json!(strategies.join(",")));
    }
}
