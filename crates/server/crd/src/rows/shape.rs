//! The shape of a custom resource: what the write path asks about its schema.
//!
//! The definition's stored bytes are kept (they are the store's own); a version's schema is compiled when it is first
//! asked for, so that definitions nobody uses cost nothing.
use super::compiled::Compiled;
use crate::{
    schema::{self, Schema},
    value,
};
use bytes::Bytes;
use skiff_codec::DecodeError;
use skiff_json::Value;
use skiff_meta::{
    Cause, GroupVersionKind, Status,
    value::{list, text},
};
use skiff_registry::shape::{Decoded, JSON, PROTOBUF, Published, Shape, YAML, unreadable, unsupported};
use std::{collections::BTreeMap, sync::OnceLock};

pub struct CustomShape {
    bytes: Bytes,
    versions: BTreeMap<String, OnceLock<Compiled>>,
}

impl CustomShape {
    /// `bytes` are the definition's, `versions` the names of all its versions.
    pub fn new<'n>(bytes: Bytes, versions: impl IntoIterator<Item = &'n str>) -> Self {
        Self { bytes, versions: versions.into_iter().map(|v| (v.to_owned(), OnceLock::new())).collect() }
    }
    fn at(&self, version: &str) -> Option<&Compiled> {
        Some(self.versions.get(version)?.get_or_init(|| Compiled::read(&self.bytes, version)))
    }
    fn schema(&self, version: &str) -> Option<&Schema> {
        self.at(version).map(|c| &c.schema)
    }

    fn settle(&self, kind: &GroupVersionKind, d: skiff_codec::Decoded) -> Result<Decoded, Status> {
        let skiff_codec::Decoded { object: mut value, mut strict, hollow } = d;
        if let Some(s) = self.schema(&kind.version) {
            let unknown = schema::coerce(&mut value, s)
                .map_err(|why| Status::bad_request(format!("{} in version {:?} cannot be handled as a {}: {why}", kind.kind, kind.version, kind.kind)))?;
            strict.extend(unknown.into_iter().map(|path| format!("unknown field {path:?}")));
        }
        Ok(Decoded { value, strict, hollow })
    }
}

/// A body is an object and says what it is.
fn read(kind: &GroupVersionKind, body: &[u8]) -> Result<skiff_codec::Decoded, Status> {
    let refused = |e: &_| unreadable(kind, &Default::default(), e, body);
    let syntax = |why: String| refused(&DecodeError::Syntax(why));
    let not_object = |what| {
        syntax(format!(
            "json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        ))
    };
    let unnamed = || {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{}' ({})",
            kind.kind,
            String::from_utf8_lossy(body),
            skiff_codec::summary(body)
        ))
    };
    match body.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'[') => return Err(not_object("array")),
        Some(b'"') => return Err(not_object("string")),
        Some(b'0'..=b'9' | b'-') => return Err(not_object("number")),
        Some(b't' | b'f') if matches!(body.trim_ascii(), b"true" | b"false") => return Err(not_object("bool")),
        Some(b'n') if body.trim_ascii() == b"null" => return Err(unnamed()),
        _ => {}
    }
    let d = skiff_codec::decode_custom_json(body).map_err(|e| refused(&e))?;
    if text(&d.object, "kind").is_empty() { Err(unnamed()) } else { Ok(d) }
}

/// It must be what the path says. `patched`: a patch made it, which changes a part that may not change.
fn claims(kind: &GroupVersionKind, v: &Value, patched: bool) -> Result<(), Status> {
    let (api_version, claimed, expected) = (text(v, "apiVersion"), text(v, "kind"), kind.api_version());
    let wrong = |field: &str, given: &str, want: &str| {
        let cause = Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {given:?}: must be {want}"), field: field.into() };
        Err(Status::invalid(&kind.group, claimed, text(v, "metadata.name"), vec![cause]))
    };
    if api_version != expected && !patched {
        return Err(Status::bad_request(format!("the API version in the data ({api_version}) does not match the expected API version ({expected})")));
    }
    if claimed != kind.kind {
        return wrong("kind", claimed, &kind.kind);
    }
    if api_version != expected { wrong("apiVersion", api_version, &expected) } else { Ok(()) }
}

impl Shape for CustomShape {
    fn decode(&self, kind: &GroupVersionKind, media: &str, body: &[u8]) -> Result<Decoded, Status> {
        let refused = |e: &_| unreadable(kind, &Default::default(), e, body);
        match media {
            JSON => {
                let d = read(kind, body)?;
                claims(kind, &d.object, false)?;
                self.settle(kind, d)
            }
            YAML => {
                let (json, mut strict) = skiff_codec::yaml_to_json(body).map_err(|e| refused(&e))?;
                let mut d = read(kind, &json)?;
                claims(kind, &d.object, false)?;
                strict.append(&mut d.strict);
                self.settle(kind, skiff_codec::Decoded { strict, ..d })
            }
            // No custom object has a protobuf form, but the list of upstream's server says so only to those who send one.
            PROTOBUF => Err(unsupported(&[JSON, YAML])),
            _ => Err(unsupported(&[JSON, YAML, PROTOBUF])),
        }
    }
    fn decode_value(&self, kind: &GroupVersionKind, value: Value) -> Result<Decoded, Status> {
        let bytes = value.to_string();
        let d = skiff_codec::decode_custom_json(bytes.as_bytes()).map_err(|e| unreadable(kind, &Default::default(), &e, bytes.as_bytes()))?;
        claims(kind, &d.object, true)?;
        self.settle(kind, d)
    }
    fn default(&self, kind: &GroupVersionKind, value: &mut Value, _now: &str) {
        if let Some(s) = self.schema(&kind.version) {
            schema::default(value, s);
        }
    }
    fn canonical(&self, _kind: &GroupVersionKind, value: &mut Value) {
        value.sort_all_objects();
        whole_numbers(value);
    }
    fn validate(&self, kind: &GroupVersionKind, subresource: &str, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        self.at(&kind.version).map(|c| value::check(c, subresource, new, old)).unwrap_or_default()
    }
    fn table(&self, _kind: &GroupVersionKind) -> Option<&'static skiff_schema::Type> {
        None
    }
    fn merging(&self, kind: &GroupVersionKind) -> skiff_apply::Shape<'_> {
        self.at(&kind.version).map_or(skiff_apply::Shape::Custom(&Value::Null), |c| skiff_apply::Shape::Custom(&c.raw))
    }
    fn reread(&self, kind: &GroupVersionKind, value: &mut Value) {
        if let Some(s) = self.schema(&kind.version) {
            // What cannot be read any more stays as it is.
            let _ = schema::coerce(value, s);
            schema::default(value, s);
        }
    }
    fn prune(&self, kind: &GroupVersionKind, value: &mut Value) {
        if let Some(s) = self.schema(&kind.version) {
            // As in rereading.
            let _ = schema::coerce(value, s);
        }
    }
    fn selects(&self, kind: &GroupVersionKind, path: &str) -> bool {
        self.at(&kind.version).is_some_and(|c| c.selectable.contains_key(path))
    }
    fn selected(&self, kind: &GroupVersionKind, value: &Value, path: &str) -> String {
        match self.at(&kind.version).and_then(|c| c.selectable.get(path)?.first(value)) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(s)) => s.clone(),
            Some(other) => other.to_string(),
        }
    }
    fn warnings(&self, kind: &GroupVersionKind, _subresource: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
        let known = old.map(|o| list(o, "metadata.finalizers")).unwrap_or_default();
        let mut added: Vec<&str> = list(new, "metadata.finalizers").iter().filter(|f| !known.contains(f)).filter_map(Value::as_str).collect();
        added.sort_unstable();
        let stays = self.at(&kind.version).zip(old).map(|(c, old)| c.rules.ratcheted(new, &c.schema, old)).unwrap_or_default();
        let stays = stays.into_iter().map(|c| format!("{}: {}", c.field, c.message));
        added.into_iter().filter_map(finalizer).chain(stays).collect()
    }
    fn published(&self, kind: &GroupVersionKind, v3: bool) -> Option<Published> {
        Some(super::publish::schema(self.at(&kind.version)?, v3))
    }
}

/// Go writes a float without a fraction as it writes an integer.
fn whole_numbers(v: &mut Value) {
    /// Beyond it, not every integer is a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match v {
        Value::Number(n) if n.is_f64() => {
            if let Some(f) = n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() <= EXACT) {
                *v = (f as i64).into();
            }
        }
        Value::Array(all) => all.iter_mut().for_each(whole_numbers),
        Value::Object(m) => m.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// What is told about a finalizer whose name others may choose, too.
fn finalizer(name: &str) -> Option<String> {
    if name.contains('/') || matches!(name, "orphan" | "foregroundDeletion" | "kubernetes") {
        return None;
    }
    let path = if name.contains('.') { "including a path (/) " } else { "" };
    Some(format!("metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name {path}to avoid accidental conflicts with other finalizer writers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn shape() -> CustomShape {
        let definition = json!({"spec": {"versions": [{"name": "v1", "selectableFields": [{"jsonPath": ".spec.color"}], "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"color": {"type": "string", "default": "red"}, "n": {"type": "integer"}}}}}}}]}});
        CustomShape::new(definition.to_string().into(), ["v1"])
    }

    #[test]
    fn bodies_are_pruned_and_defaulted() {
        let (shape, kind) = (shape(), GroupVersionKind::new("g.io", "v1", "Thing"));
        let body = r#"{"kind":"Thing","apiVersion":"g.io/v1","metadata":{"name":"a","foo":1},"spec":{"n":1,"x":2,"n":3}}"#;
        let mut d = shape.decode(&kind, JSON, body.as_bytes()).unwrap();
        shape.default(&kind, &mut d.value, "");
        assert_eq!(d.value, json!({"kind": "Thing", "apiVersion": "g.io/v1", "metadata": {"name": "a"}, "spec": {"n": 3, "color": "red"}}));
        assert_eq!(d.strict, ["duplicate field \"spec.n\"", "unknown field \"metadata.foo\"", "unknown field \"spec.x\""]);
        assert!(shape.selects(&kind, "spec.color") && !shape.selects(&kind, "spec.n"));
        assert_eq!(shape.selected(&kind, &d.value, "spec.color"), "red");
    }

    #[test]
    fn a_version_shows_what_its_schema_has() {
        let (shape, kind) = (shape(), GroupVersionKind::new("g.io", "v1", "Thing"));
        let mut v = json!({"kind": "Thing", "apiVersion": "g.io/v1", "metadata": {"name": "a"}, "spec": {"n": 1, "other": 2}, "more": {}});
        shape.prune(&kind, &mut v);
        // Defaults are those of the version that is stored.
        assert_eq!(v, json!({"kind": "Thing", "apiVersion": "g.io/v1", "metadata": {"name": "a"}, "spec": {"n": 1}}));
    }

    #[test]
    fn bodies_say_what_they_are() {
        let (shape, kind) = (shape(), GroupVersionKind::new("g.io", "v1", "Thing"));
        for (body, code) in [
            (r#"{"apiVersion":"g.io/v1"}"#, 400),
            (r#"{"kind":"Thing"}"#, 400),
            ("null", 400),
            ("1", 400),
            (r#"{"kind":"Thing","apiVersion":"g.io/v2"}"#, 400),
            (r#"{"kind":"Other","apiVersion":"g.io/v1"}"#, 422),
            ("[]", 400),
        ] {
            assert_eq!(shape.decode(&kind, JSON, body.as_bytes()).err().map(|s| s.code), Some(code), "{body}");
        }
        assert_eq!(shape.decode(&kind, "application/vnd.kubernetes.protobuf", b"").err().map(|s| s.code), Some(415));
    }
}
