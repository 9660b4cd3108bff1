//! From a request's body to an object: strict decoding, and whether it is the object that the path says.
use super::options::{FieldValidation, WriteOptions};
use crate::{registry::Context, shape::Decoded, value};
use serde_json::Value;
use skiff_meta::{GroupVersionKind, Status};

/// An object and the warnings that it came with.
pub(crate) struct Incoming {
    pub value: Value,
    pub warnings: Vec<String>,
}

/// Decodes the body as the row's kind in the version of the path.
pub(crate) fn body(ctx: &Context<'_>, options: &WriteOptions) -> Result<Incoming, Status> {
    let kind = ctx.row.gvk(ctx.version());
    let decoded = ctx.row.shape.decode(&kind, &ctx.call.content_type, &ctx.call.body)?;
    let incoming = strict(decoded, options, &kind)?;
    typed(incoming, &kind)
}

/// Decodes what a patch made.
pub(crate) fn patched(ctx: &Context<'_>, options: &WriteOptions, value: Value) -> Result<Incoming, Status> {
    let kind = ctx.row.gvk(ctx.version());
    let incoming = strict(ctx.row.shape.decode_value(&kind, value)?, options, &kind)?;
    typed(incoming, &kind)
}

fn strict(decoded: Decoded, options: &WriteOptions, kind: &GroupVersionKind) -> Result<Incoming, Status> {
    let Decoded { value, strict } = decoded;
    match options.validation {
        FieldValidation::Strict if !strict.is_empty() => Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            kind.kind,
            kind.version,
            kind.kind,
            strict.join(", ")
        ))),
        FieldValidation::Warn => Ok(Incoming { value, warnings: strict }),
        _ => Ok(Incoming { value, warnings: Vec::new() }),
    }
}

/// Fills in an absent apiVersion and kind, and refuses others than the path's.
fn typed(mut incoming: Incoming, kind: &GroupVersionKind) -> Result<Incoming, Status> {
    let Some(object) = incoming.value.as_object_mut() else {
        return Err(Status::bad_request("the object provided is unrecognized: it is not a JSON object"));
    };
    let text = |k: &str| object.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, given) = (text("apiVersion"), text("kind"));
    let wanted = kind.api_version();
    if (!given.is_empty() && given != kind.kind) || (!api_version.is_empty() && api_version != wanted) {
        let group_version = if api_version.is_empty() { &wanted } else { &api_version };
        return Err(Status::bad_request(format!(
            "{given} in version {:?} cannot be handled as a {}: no kind {given:?} is registered for the path's version {wanted:?}",
            group_version.rsplit('/').next().unwrap_or_default(),
            kind.kind
        )));
    }
    object.insert("apiVersion".into(), wanted.into());
    object.insert("kind".into(), kind.kind.as_ref().into());
    if value::map_mut(&mut incoming.value, "metadata").is_none() {
        return Err(Status::bad_request("metadata is not an object"));
    }
    Ok(incoming)
}

/// The namespace of the path goes into the object; another one there is an error.
pub(crate) fn in_namespace(ctx: &Context<'_>, v: &mut Value) -> Result<(), Status> {
    let given = value::text(v, "metadata.namespace");
    if !ctx.row.namespaced {
        value::remove(v, "metadata.namespace");
        return Ok(());
    }
    if !given.is_empty() && given != ctx.namespace() {
        return Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    value::set(v, "metadata.namespace", ctx.namespace());
    Ok(())
}

/// Decodes a body that is no resource of its own: options, bindings, evictions. The kind is `meta.k8s.io`'s or v1's.
pub(crate) fn options(ctx: &Context<'_>, kind: &'static str) -> Result<Value, Status> {
    let gvk = GroupVersionKind::new("", "v1", kind);
    Ok(crate::shape::builtin().decode(&gvk, &ctx.call.content_type, &ctx.call.body)?.value)
}

/// Decodes the body as another built-in kind, as the bodies of subresources are.
pub(crate) fn other(ctx: &Context<'_>, kind: &GroupVersionKind) -> Result<Value, Status> {
    Ok(crate::shape::builtin().decode(kind, &ctx.call.content_type, &ctx.call.body)?.value)
}
