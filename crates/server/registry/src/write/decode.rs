//! From a request's body to an object: strict decoding, and whether it is the object that the path says.
use super::options::{FieldValidation, WriteOptions};
use crate::{registry::Context, shape::Decoded, value};
use skiff_json::Value;
use skiff_meta::{GroupVersionKind, Status, distrust};

/// An object and the warnings that it came with.
#[derive(Clone)]
pub(crate) struct Incoming {
    pub value: Value,
    pub warnings: Vec<String>,
    /// Whether its managed fields are settled already, as an apply leaves them.
    pub tracked: bool,
    /// The state before, in the version worked in, where it has been read already.
    pub before: Option<Value>,
    /// Whether it has empty lists and maps that are not stored: they count until owners are recorded.
    pub hollow: bool,
}

/// Decodes the body as the row's kind in the version of the path.
pub(crate) fn body(ctx: &Context<'_>, options: &WriteOptions) -> Result<Incoming, Status> {
    let kind = ctx.row.gvk(ctx.version());
    let mut decoded = ctx.row.shape.decode(&kind, &ctx.call.content_type, &ctx.call.body)?;
    distrust(&mut decoded.value);
    let incoming = strict(decoded, options, &kind)?;
    typed(incoming, &kind)
}

/// Decodes what a patch made; `found` is what strict reading found in the patch itself.
pub(crate) fn patched(ctx: &Context<'_>, options: &WriteOptions, value: Value, found: Vec<String>) -> Result<Incoming, Status> {
    let kind = ctx.row.gvk(ctx.version());
    let mut decoded = ctx.row.shape.decode_value(&kind, value)?;
    decoded.strict.splice(0..0, found);
    let incoming = strict(decoded, options, &kind)?;
    typed(incoming, &kind)
}

fn strict(decoded: Decoded, options: &WriteOptions, kind: &GroupVersionKind) -> Result<Incoming, Status> {
    let Decoded { value, strict, hollow } = decoded;
    match options.validation {
        FieldValidation::Strict if !strict.is_empty() => {
            let why = skiff_codec::strict_message(&strict);
            Err(Status::bad_request(format!("{} in version {:?} cannot be handled as a {}: {why}", kind.kind, kind.version, kind.kind)))
        }
        FieldValidation::Warn => Ok(Incoming { value, warnings: strict, tracked: false, before: None, hollow }),
        _ => Ok(Incoming { value, warnings: Vec::new(), tracked: false, before: None, hollow }),
    }
}

/// Fills in the path's apiVersion and kind; the shape has refused others.
fn typed(mut incoming: Incoming, kind: &GroupVersionKind) -> Result<Incoming, Status> {
    let Some(object) = incoming.value.as_object_mut() else {
        return Err(Status::bad_request(format!("the object provided is unrecognized (must be of type {})", kind.kind)));
    };
    object.insert("apiVersion", kind.api_version().into());
    object.insert("kind", kind.kind.as_ref().into());
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
