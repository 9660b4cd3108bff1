//! Decoders of the API's formats: pure functions over bytes and text.

use skiff_apply::{FieldSet, Shape, Tracker};
use skiff_cel::{Budget, Program, Variables};
use skiff_codec::{TypeMeta, decode_custom_json, decode_json, decode_protobuf, encode_json, encode_protobuf, json_to_yaml, type_meta, yaml_to_json};
use skiff_json::{Value, json};
use skiff_meta::{FieldSelector, LabelSelector, MicroTime, Quantity, Revision, Timestamp};
use skiff_schema::{Type, by_gvk};

/// What an administrator's rule may cost, in the evaluator's steps.
const STEPS: u64 = 100_000;

/// The type that an object says it is.
fn ty_of(meta: &TypeMeta) -> Option<&'static Type> {
    by_gvk(meta.group(), meta.version(), &meta.kind)
}

pub fn json(data: &[u8]) {
    let _ = decode_custom_json(data);
    let Ok(meta) = type_meta(data) else { return };
    let ty = ty_of(&meta).or_else(|| by_gvk("", "v1", "Pod"));
    let Some(ty) = ty else { return };
    let Ok(decoded) = decode_json(ty, data) else { return };
    // Canonical form is a fixed point.
    let bytes = encode_json(ty, &decoded.object);
    if bytes.len() > skiff_codec::MAX_BODY {
        return;
    }
    let again = decode_json(ty, &bytes).unwrap_or_else(|e| panic!("canonical bytes are refused: {e}"));
    assert_eq!(encode_json(ty, &again.object), bytes, "canonical form is not stable");
    let _ = json_to_yaml(&again.object);
    let Ok(wire) = encode_protobuf(ty, &meta.api_version, &meta.kind, &bytes) else { return };
    let _ = decode_protobuf(&wire, None);
}

pub fn yaml(data: &[u8]) {
    if let Ok((bytes, _)) = yaml_to_json(data) {
        assert!(bytes.len() <= skiff_codec::MAX_YAML_EXPANDED * 2, "{} bytes of YAML became {}", data.len(), bytes.len());
        json(&bytes);
    }
}

pub fn protobuf(data: &[u8]) {
    let _ = skiff_codec::split_frames(data, 1 << 20);
    let expected = TypeMeta { api_version: "v1".into(), kind: "Pod".into() };
    let enveloped = if skiff_codec::is_protobuf(data) { data.to_vec() } else { skiff_codec::envelope("v1", "Pod", data) };
    let Ok(decoded) = decode_protobuf(&enveloped, Some(&expected)) else { return };
    let bytes = encode_json(decoded.ty, &decoded.object);
    let _ = encode_protobuf(decoded.ty, &decoded.type_meta.api_version, &decoded.type_meta.kind, &bytes);
}

/// Whatever decodes is defaulted and validated, as a create and as an update of itself and of nothing.
pub fn defaults_and_validation(data: &[u8]) {
    let Some((ty, object)) = decoded(data) else { return };
    let mut full = object.clone();
    skiff_codec::defaults::apply(ty, &mut full, skiff_codec::defaults::Context { now: "2026-01-01T00:00:00Z" });
    for o in [&object, &full] {
        let _ = skiff_validation::validate_create(ty.group, ty.short_name(), o);
        let _ = skiff_validation::validate_update(ty.group, ty.short_name(), o, &object);
        let _ = skiff_validation::validate_update(ty.group, ty.short_name(), o, &Value::Null);
        let _ = skiff_validation::validate_status_update(ty.group, ty.short_name(), o, &object);
        let _ = skiff_validation::warnings(ty.group, ty.short_name(), "", o, Some(&object));
    }
}

fn decoded(data: &[u8]) -> Option<(&'static Type, Value)> {
    let ty = ty_of(&type_meta(data).ok()?)?;
    Some((ty, decode_json(ty, data).ok()?.object))
}

/// What patches are tried on.
fn live() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}, "finalizers": ["x", "y"]}, "spec": {"containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "A", "value": "1"}]}, {"name": "b", "image": "j"}], "tolerations": [{"key": "k"}]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

pub fn json_patch(data: &[u8]) {
    let _ = skiff_patch::json_patch(&live(), data);
}

/// A patch is read as a request's body is: by our own reader, which limits its depth.
fn value(data: &[u8]) -> Option<Value> {
    skiff_json::from_slice(data).ok()
}

pub fn merge_patch(data: &[u8]) {
    if let Some(patch) = value(data) {
        let _ = skiff_patch::merge_patch(&live(), &patch);
    }
}

pub fn strategic_patch(data: &[u8]) {
    let (Some(patch), Some(ty)) = (value(data), by_gvk("", "v1", "Pod")) else { return };
    let _ = skiff_patch::strategic_patch(&live(), &patch, ty);
}

pub fn apply(data: &[u8]) {
    let (Some(patch), Some(ty)) = (value(data), by_gvk("", "v1", "Pod")) else { return };
    for shape in [Shape::Struct(ty), Shape::Deduced] {
        let tracker = Tracker::new(shape, "v1", "", &["status"]);
        let mut old = live();
        tracker.update(&Value::Null, &mut old, "one", "2026-01-01T00:00:00Z");
        let Ok((merged, _)) = tracker.apply(&old, &patch, "two", true, "2026-01-01T00:00:00Z") else { continue };
        let _ = tracker.apply(&merged, &live(), "three", false, "2026-01-01T00:00:00Z");
        let mut new = patch.clone();
        tracker.update(&merged, &mut new, "four", "2026-01-01T00:00:00Z");
    }
}

pub fn field_set(data: &[u8]) {
    let Some(v) = value(data) else { return };
    let Some(set) = FieldSet::from_fields_v1(&v) else { return };
    let _ = set.paths();
    let again = FieldSet::from_fields_v1(&set.to_fields_v1());
    assert!(again.is_some(), "what is written is not read");
    set.union(&set).cut(&set);
}

/// Small languages: each takes one text.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(q) = text.parse::<Quantity>() {
        let shown = q.to_string();
        let again: Quantity = shown.parse().unwrap_or_else(|_| panic!("{text:?} is shown as {shown:?}, which is refused"));
        assert_eq!(again.to_string(), shown, "{text:?} is not stable");
    }
    let _ = LabelSelector::parse(text);
    let _ = FieldSelector::parse(text);
    let _ = text.parse::<Timestamp>().map(|t| t.to_string());
    let _ = text.parse::<MicroTime>().map(|t| t.to_string());
    let _ = text.parse::<Revision>();
    let _ = skiff_meta::GroupVersion::parse(text);
    let _ = skiff_meta::is_dns1123_label(text);
    let _ = skiff_meta::is_dns1123_subdomain(text);
    let _ = skiff_meta::is_dns1035_label(text);
    let _ = skiff_meta::is_qualified_name(text);
    let _ = skiff_meta::is_label_value(text);
}

pub fn cel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(program) = Program::compile(text) else { return };
    let mut names = Variables::default();
    for name in ["self", "object", "oldSelf", "request"] {
        names.0.insert(name.to_owned(), skiff_cel::from_json(&live()));
    }
    let mut budget = Budget::new(STEPS);
    let _ = program.free_names();
    if let Ok(v) = program.evaluate(&names, &mut budget) {
        let _ = skiff_cel::to_json(&v);
    }
}
