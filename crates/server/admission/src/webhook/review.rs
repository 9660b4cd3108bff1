//! AdmissionReview: the question that is put to a webhook, and its answer.
use super::{
    hook::Hook,
    matching::{self, Invocation},
};
use crate::{
    request::{Operation, operation},
    value,
    versions::View,
};
use base64::Engine as _;
use skiff_json::{Map, Value, json};
use skiff_meta::{GroupVersionKind, GroupVersionResource};
use skiff_policy::Attributes;
use skiff_request::User;

/// What a webhook said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub allowed: bool,
    /// A JSON patch.
    pub patch: Vec<u8>,
    pub patch_type: String,
    pub status: Option<Value>,
    pub warnings: Vec<String>,
    pub audit: Vec<(String, String)>,
}

/// The first version that the webhook speaks and we do.
pub(crate) fn version(hook: &Hook) -> Result<&str, String> {
    let known = hook.versions.iter().find(|v| matches!(v.as_str(), "v1" | "v1beta1"));
    known
        .map(String::as_str)
        .ok_or_else(|| "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)".to_owned())
}

/// The question. `uid` ties the answer to it.
pub(crate) fn question(a: &Attributes<'_>, i: &Invocation, view: &View, version: &str, uid: &str) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": format!("admission.k8s.io/{version}"),
        "request": request(a, i, view, uid),
    })
}

/// The request as webhooks see it, and expressions as `request` (which have no use for `object`).
fn request(a: &Attributes<'_>, i: &Invocation, view: &View, uid: &str) -> Value {
    let mut v = about(a, i, uid);
    v["object"] = view.object.clone().unwrap_or_default();
    v["oldObject"] = view.old.clone().unwrap_or_default();
    v
}

/// All of the request but the objects.
pub(crate) fn about(a: &Attributes<'_>, i: &Invocation, uid: &str) -> Value {
    let mut v = Map::new();
    v.insert("uid", uid.into());
    v.insert("kind", kind(&i.kind));
    v.insert("resource", resource(&i.resource));
    if !a.target.subresource.is_empty() {
        v.insert("subResource", a.target.subresource.as_str().into());
    }
    v.insert("requestKind", kind(&i.request_kind));
    v.insert("requestResource", resource(&a.target.resource));
    if !a.target.subresource.is_empty() {
        v.insert("requestSubResource", a.target.subresource.as_str().into());
    }
    for (key, text) in [("name", a.target.name.as_str()), ("namespace", matching::namespace_of(a))] {
        if !text.is_empty() {
            v.insert(key, text.into());
        }
    }
    v.insert("operation", operation(a).as_str().into());
    v.insert("userInfo", user(a.user));
    v.insert("dryRun", a.dry_run.into());
    v.insert("options", options(a));
    Value::Object(v)
}

fn kind(k: &GroupVersionKind) -> Value {
    json!({"group": k.group, "version": k.version, "kind": k.kind})
}
fn resource(r: &GroupVersionResource) -> Value {
    json!({"group": r.group, "version": r.version, "resource": r.resource})
}
fn user(u: &User) -> Value {
    let mut v = json!({"username": u.name});
    if !u.uid.is_empty() {
        v["uid"] = u.uid.as_str().into();
    }
    if !u.groups.is_empty() {
        v["groups"] = json!(u.groups);
    }
    if !u.extra.is_empty() {
        v["extra"] = json!(u.extra);
    }
    v
}
fn options(a: &Attributes<'_>) -> Value {
    let kind = match operation(a) {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut v = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    for (k, x) in a.options.as_object().into_iter().flatten() {
        if !(x.is_null() || x == "" || x.as_array().is_some_and(Vec::is_empty)) {
            v[k] = x.clone();
        }
    }
    v
}

/// Reads the answer; the error is what is wrong with it.
pub(crate) fn answer(review: &Value, version: &str, uid: &str, mutating: bool) -> Result<Answer, String> {
    let Some(r) = value::at(review, "response") else { return Err("webhook response was absent".into()) };
    let patch_type = value::at(r, "patchType").map(|_| value::text(r, "patchType").to_owned());
    let patch = value::text(r, "patch");
    if version == "v1" {
        check_v1(review, r, uid, mutating, patch, patch_type.as_deref())?;
    }
    let patch = base64::engine::general_purpose::STANDARD.decode(patch).map_err(|e| format!("illegal base64 data: {e}"))?;
    let audit = value::map(r, "auditAnnotations").into_iter().flatten();
    Ok(Answer {
        allowed: value::flag(r, "allowed"),
        patch: if mutating { patch } else { Vec::new() },
        patch_type: patch_type.unwrap_or_else(|| "JSONPatch".into()),
        status: value::at(r, "status").cloned(),
        warnings: value::list(r, "warnings").iter().filter_map(|w| w.as_str().map(str::to_owned)).collect(),
        audit: audit.filter_map(|(k, x)| Some((k.to_string(), x.as_str()?.to_owned()))).collect(),
    })
}

/// What the first beta let pass is an error in v1.
fn check_v1(review: &Value, r: &Value, uid: &str, mutating: bool, patch: &str, patch_type: Option<&str>) -> Result<(), String> {
    let given = value::text(r, "uid");
    if given != uid {
        return Err(format!("expected response.uid={uid:?}, got {given:?}"));
    }
    let (kind, api_version) = (value::text(review, "kind"), value::text(review, "apiVersion"));
    if kind != "AdmissionReview" || api_version != "admission.k8s.io/v1" {
        return Err(format!("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {api_version}, Kind={kind}"));
    }
    match (mutating, patch.is_empty(), patch_type) {
        (true, false, None) => Err("webhook returned response.patch but not response.patchType".into()),
        (true, true, Some(_)) => Err("webhook returned response.patchType but not response.patch".into()),
        (true, _, Some("")) => Err("webhook returned invalid response.patchType of \"\"".into()),
        (false, false, _) => Err("validating webhook may not return response.patch".into()),
        (false, _, Some(_)) => Err("validating webhook may not return response.patchType".into()),
        _ => Ok(()),
    }
}
