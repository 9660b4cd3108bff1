//! What the pipeline asks of a kind's schema.
//!
//! Built-in kinds answer out of the tables of `skiff-schema`; custom resources bring their own shape with their
//! definition. The pipeline does not know which.
use skiff_codec::{DecodeError, TypeMeta, defaults};
use skiff_json::Value;
use skiff_meta::{Cause, GroupVersionKind, Reason, Status};
use skiff_schema::{Kind, Type};
use std::sync::Arc;

/// A body after decoding.
pub struct Decoded {
    /// In canonical form.
    pub value: Value,
    /// Unknown and duplicate fields, as strict decoding words them.
    pub strict: Vec<String>,
    /// Whether it has empty lists and maps that its canonical form leaves out.
    pub hollow: bool,
}

/// A custom resource's schema in documents.
pub struct Published {
    pub schema: Value,
    /// Anything goes: even what every object has is left out, or clients refused the rest.
    pub open: bool,
    /// Fields that selectors may name.
    pub selectable: Vec<String>,
}

pub trait Shape: Send + Sync {
    /// Reads a body of `media` as `kind` the way upstream's decoder does; unknown fields are dropped (or kept, where the
    /// schema preserves them). The error is the client's 400, 413 or 415.
    fn decode(&self, kind: &GroupVersionKind, media: &str, body: &[u8]) -> Result<Decoded, Status>;
    /// The same for a value that is JSON already (the outcome of a patch).
    fn decode_value(&self, kind: &GroupVersionKind, value: Value) -> Result<Decoded, Status>;
    /// Fills in defaults; `now` is RFC 3339.
    fn default(&self, kind: &GroupVersionKind, value: &mut Value, now: &str);
    /// Orders fields and drops zeros as canonical JSON has it.
    fn canonical(&self, kind: &GroupVersionKind, value: &mut Value);
    /// Lists that are empty and that Go does not leave out become null: storing loses the difference.
    fn forget_empty_lists(&self, _kind: &GroupVersionKind, _value: &mut Value) {}
    /// The object that has nothing yet, in canonical form: what a creation is compared with to see what it sets.
    fn empty(&self, _kind: &GroupVersionKind) -> Value {
        Value::Object(Default::default())
    }
    /// Errors of the content of an object or of a change of it; metadata is checked elsewhere.
    fn validate(&self, kind: &GroupVersionKind, subresource: &str, new: &Value, old: Option<&Value>) -> Vec<Cause>;
    /// What the client is told about an object that is accepted.
    fn warnings(&self, _kind: &GroupVersionKind, _subresource: &str, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }
    /// The table of the kind: strategic merge patches and protobuf need one. Custom resources have none.
    fn table(&self, kind: &GroupVersionKind) -> Option<&'static Type>;
    /// How values merge in an apply.
    fn merging(&self, kind: &GroupVersionKind) -> skiff_apply::Shape<'_>;
    /// Brings what was stored under an older schema up to the present one: unknown fields go, defaults come.
    fn reread(&self, _kind: &GroupVersionKind, _value: &mut Value) {}
    /// Drops what the schema of this version does not know: a conversion that changes nothing but the version leaves it.
    fn prune(&self, _kind: &GroupVersionKind, _value: &mut Value) {}
    /// Whether field selectors may name `path`, beside the fields of the row.
    fn selects(&self, _kind: &GroupVersionKind, _path: &str) -> bool {
        false
    }
    /// The value of such a field; empty when it is absent.
    fn selected(&self, _kind: &GroupVersionKind, _value: &Value, _path: &str) -> String {
        String::new()
    }
    /// The schema that OpenAPI documents (v3, otherwise v2) show, without what every object has (`apiVersion`, `kind`,
    /// `metadata`); None for built-in kinds, which the tables describe.
    fn published(&self, _kind: &GroupVersionKind, _v3: bool) -> Option<Published> {
        None
    }
}

pub const JSON: &str = "application/json";
pub const YAML: &str = "application/yaml";
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The shape of every built-in kind.
pub fn builtin() -> Arc<dyn Shape> {
    static SHAPE: std::sync::LazyLock<Arc<dyn Shape>> = std::sync::LazyLock::new(|| Arc::new(Builtin));
    SHAPE.clone()
}

struct Builtin;

fn table(kind: &GroupVersionKind) -> Option<&'static Type> {
    skiff_schema::by_gvk(&kind.group, &kind.version, &kind.kind)
}

fn known(kind: &GroupVersionKind) -> Result<&'static Type, Status> {
    table(kind).ok_or_else(|| Status::internal(format!("no table describes {kind}")))
}

impl Shape for Builtin {
    fn decode(&self, kind: &GroupVersionKind, media: &str, body: &[u8]) -> Result<Decoded, Status> {
        let ty = known(kind)?;
        match media {
            JSON => json(ty, kind, body, Vec::new()),
            YAML => {
                let (bytes, strict) = skiff_codec::yaml_to_json(body).map_err(|e| unreadable(kind, &TypeMeta::default(), &e, body))?;
                json(ty, kind, &bytes, strict)
            }
            PROTOBUF => protobuf(kind, body),
            _ => Err(unsupported(&[JSON, YAML, PROTOBUF])),
        }
    }
    fn decode_value(&self, kind: &GroupVersionKind, value: Value) -> Result<Decoded, Status> {
        let ty = known(kind)?;
        let own = TypeMeta { api_version: kind.api_version(), kind: kind.kind.to_string() };
        let d = skiff_codec::decode_owned(ty, value).map_err(|e| unreadable(kind, &own, &e, b"{"))?;
        Ok(Decoded { value: d.object, strict: d.strict, hollow: d.hollow })
    }
    fn default(&self, kind: &GroupVersionKind, value: &mut Value, now: &str) {
        if let Some(ty) = table(kind) {
            defaults::apply(ty, value, defaults::Context { now });
        }
    }
    fn canonical(&self, kind: &GroupVersionKind, value: &mut Value) {
        let Some(ty) = table(kind) else { return };
        let settled = skiff_codec::settle(ty, value)
            || match skiff_codec::decode_value(ty, value) {
                Ok(d) => {
                    *value = d.object;
                    true
                }
                Err(_) => false,
            };
        if settled {
            // Storing loses the difference between no list and an empty one; Go writes the former as null.
            for field in ty.fields.iter().filter(|f| !f.omit_empty && !f.omit_zero) {
                if let Some(list) = value.get_mut(field.name).filter(|v| v.as_array().is_some_and(Vec::is_empty)) {
                    *list = Value::Null;
                }
            }
        }
    }
    fn forget_empty_lists(&self, kind: &GroupVersionKind, value: &mut Value) {
        if let Some(ty) = table(kind) {
            null_lists(ty, value);
        }
    }
    fn empty(&self, kind: &GroupVersionKind) -> Value {
        let nothing = Value::Object(Default::default());
        match table(kind).and_then(|ty| skiff_codec::decode_value(ty, &nothing).ok()) {
            Some(d) => d.object,
            None => nothing,
        }
    }
    fn validate(&self, kind: &GroupVersionKind, subresource: &str, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        match (old, subresource) {
            (None, _) => skiff_validation::validate_create(&kind.group, &kind.kind, new),
            (Some(old), "") => skiff_validation::validate_update(&kind.group, &kind.kind, new, old),
            (Some(old), other) => skiff_validation::validate_subresource(&kind.group, &kind.kind, other, new, old),
        }
    }
    fn warnings(&self, kind: &GroupVersionKind, subresource: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
        skiff_validation::warnings(&kind.group, &kind.kind, subresource, new, old)
    }
    fn table(&self, kind: &GroupVersionKind) -> Option<&'static Type> {
        table(kind)
    }
    fn merging(&self, kind: &GroupVersionKind) -> skiff_apply::Shape<'_> {
        table(kind).map_or(skiff_apply::Shape::Deduced, skiff_apply::Shape::Struct)
    }
}

fn null_lists(ty: &'static Type, value: &mut Value) {
    for f in ty.fields.iter().filter(|f| f.name != "metadata") {
        let Some(v) = value.get_mut(f.name) else { continue };
        if v.as_array().is_some_and(Vec::is_empty) {
            *v = Value::Null;
        }
        match &f.ty.kind {
            Kind::Ref(inner) => null_lists(inner, v),
            Kind::List(item) => {
                if let Kind::Ref(inner) = item.kind {
                    v.as_array_mut().into_iter().flatten().for_each(|v| null_lists(inner, v));
                }
            }
            _ => {}
        }
    }
}

/// 415 with what would do.
pub fn unsupported(accepted: &[&str]) -> Status {
    let text = format!("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", "));
    Status::new(Reason::UnsupportedMediaType, text)
}

/// The client's error for bytes that are no object of `kind`.
pub fn unreadable(kind: &GroupVersionKind, claimed: &TypeMeta, e: &DecodeError, body: &[u8]) -> Status {
    if let DecodeError::TooLarge(_) = e {
        return Status::new(Reason::RequestEntityTooLarge, e.to_string());
    }
    // Options are read without a word of which object they are for.
    if skiff_schema::is_meta_kind(&kind.kind) && !matches!(e, DecodeError::Value(_)) {
        return Status::bad_request(e.to_string());
    }
    let (name, version) = if claimed.kind.is_empty() { (&*kind.kind, &*kind.version) } else { (claimed.kind.as_str(), claimed.version()) };
    Status::bad_request(e.bad_request(name, version, &kind.kind, body))
}

/// A body that says it is something else than the path's kind. Options may come as any group's.
pub fn other_kind(kind: &GroupVersionKind, claimed: &TypeMeta) -> Result<(), Status> {
    if skiff_schema::is_meta_kind(&kind.kind) && (claimed.kind.is_empty() || claimed.kind == kind.kind) {
        return Ok(());
    }
    if !claimed.kind.is_empty() && claimed.kind != kind.kind {
        let (name, version) = (&claimed.kind, claimed.version());
        if skiff_schema::by_gvk(claimed.group(), version, name).is_none() {
            return Err(Status::bad_request(if skiff_schema::is_meta_kind(&kind.kind) {
                unregistered(claimed)
            } else {
                format!("{name} in version {version:?} cannot be handled as a {}: {}", kind.kind, unregistered(claimed))
            }));
        }
        let text = format!(
            "{name} in version {version:?} cannot be handled as a {}: converting ({version}.{name}) to ({}.{}): unknown conversion",
            kind.kind, kind.version, kind.kind
        );
        return Err(Status::bad_request(text));
    }
    let expected = kind.api_version();
    if !claimed.api_version.is_empty() && claimed.api_version != expected {
        if !claimed.kind.is_empty() && skiff_schema::by_gvk(claimed.group(), claimed.version(), &claimed.kind).is_none() {
            return Err(Status::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: {}",
                claimed.kind,
                claimed.version(),
                kind.kind,
                unregistered(claimed)
            )));
        }
        return Err(Status::bad_request(format!("the API version in the data ({}) does not match the expected API version ({expected})", claimed.api_version)));
    }
    Ok(())
}

/// What upstream's table of types says of a kind that it has not.
fn unregistered(claimed: &TypeMeta) -> String {
    format!("no kind {:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:111\"", claimed.kind, claimed.api_version)
}

fn json(ty: &'static Type, kind: &GroupVersionKind, body: &[u8], mut strict: Vec<String>) -> Result<Decoded, Status> {
    let claimed = skiff_codec::type_meta(body).map_err(|e| unreadable(kind, &TypeMeta::default(), &e, body))?;
    other_kind(kind, &claimed)?;
    let d = skiff_codec::decode_json(ty, body).map_err(|e| unreadable(kind, &claimed, &e, body))?;
    strict.extend(d.strict);
    Ok(Decoded { value: d.object, strict, hollow: d.hollow })
}

fn protobuf(kind: &GroupVersionKind, body: &[u8]) -> Result<Decoded, Status> {
    let expected = TypeMeta { api_version: kind.api_version(), kind: kind.kind.to_string() };
    let d = skiff_codec::decode_protobuf(body, Some(&expected)).map_err(|e| unreadable(kind, &expected, &e, body))?;
    other_kind(kind, &d.type_meta)?;
    Ok(Decoded { value: d.object, strict: Vec::new(), hollow: false })
}
