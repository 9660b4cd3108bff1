//! Patches: the stored object in the path's version, changed by the patch, goes the way of an update.
use super::{RACES, decode, options::WriteOptions, update::stored};
use crate::{
    registry::{Context, Registry},
    table::Role,
    value,
};
use serde_json::Value;
use skiff_meta::{GroupVersion, Reason, Status};
use skiff_request::{Answer, PatchType};
use skiff_store::Entry;

/// More operations than this in one JSON patch are refused, as upstream does.
const OPERATIONS: usize = 10_000;

impl Registry {
    pub(crate) async fn patch(&self, ctx: &Context<'_>, role: Option<Role>) -> Result<Answer, Status> {
        let options = WriteOptions::of(ctx.call)?;
        let kind = PatchType::of_media_type(&ctx.call.content_type).ok_or_else(|| unsupported(ctx))?;
        if kind == PatchType::Strategic && !ctx.row.shape.strategic() {
            return Err(unsupported(ctx));
        }
        for race in 0.. {
            let entry = self.store.get(&ctx.row.key(ctx.namespace(), ctx.name()));
            let answer = match (kind, entry) {
                (PatchType::Apply, entry) => self.apply(ctx, &options, entry, role).await,
                (_, None) => return Err(Status::not_found(&ctx.row.group_resource(), ctx.name())),
                (kind, Some(entry)) => self.patch_entry(ctx, &options, &entry, kind, role).await,
            };
            match answer {
                Err(s) if s.is(Reason::Conflict) && race < RACES && !self.held(ctx, kind, &s) => {}
                answer => return answer,
            }
        }
        Err(Status::internal("a patch lost every race"))
    }

    /// Whether trying again cannot help: the patch itself names a revision, or the conflict is one of managed fields.
    fn held(&self, ctx: &Context<'_>, kind: PatchType, s: &Status) -> bool {
        let causes = s.details.as_ref().is_some_and(|d| !d.causes.is_empty());
        let revision = kind != PatchType::Json
            && serde_json::from_slice::<Value>(&ctx.call.body).is_ok_and(|v| !value::text(&v, "metadata.resourceVersion").is_empty());
        causes || revision || !s.message.ends_with(super::update::MODIFIED)
    }

    async fn patch_entry(&self, ctx: &Context<'_>, options: &WriteOptions, entry: &Entry, kind: PatchType, role: Option<Role>) -> Result<Answer, Status> {
        let mut v = stored(entry)?;
        let to = GroupVersion::new(ctx.row.group.clone(), ctx.version().to_owned());
        ctx.row.convert(&mut v, &ctx.row.stored, &to);
        let patch = decode_patch(&ctx.call.body)?;
        let v = match kind {
            PatchType::Json => json_patch(v, patch)?,
            PatchType::Merge => {
                json_patch::merge(&mut v, &patch);
                v
            }
            _ => self.strategic(ctx, v, patch)?,
        };
        let incoming = decode::patched(ctx, options, v)?;
        let mut v = incoming.value;
        check_identity(ctx, &v)?;
        decode::in_namespace(ctx, &mut v)?;
        self.replace(ctx, options, entry, v, role, incoming.warnings).await
    }

    fn strategic(&self, _ctx: &Context<'_>, mut v: Value, patch: Value) -> Result<Value, Status> {
        json_patch::merge(&mut v, &patch);
        Ok(v)
    }

    async fn apply(&self, ctx: &Context<'_>, options: &WriteOptions, entry: Option<Entry>, role: Option<Role>) -> Result<Answer, Status> {
        let v = self.applied(ctx, options, entry.as_ref())?;
        match entry {
            Some(entry) => self.replace(ctx, options, &entry, v, role, Vec::new()).await,
            None if role.is_some() => Err(Status::not_found(&ctx.row.group_resource(), ctx.name())),
            None => self.create_value(ctx, options, v, Vec::new()).await,
        }
    }
}

fn unsupported(ctx: &Context<'_>) -> Status {
    let accepted: Vec<&str> = [PatchType::Json, PatchType::Merge, PatchType::Strategic, PatchType::Apply]
        .into_iter()
        .filter(|p| *p != PatchType::Strategic || ctx.row.shape.strategic())
        .map(PatchType::media_type)
        .collect();
    let message = format!("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", "));
    Status::new(Reason::UnsupportedMediaType, message)
}

fn decode_patch(body: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(body).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))
}

fn check_identity(ctx: &Context<'_>, v: &Value) -> Result<(), Status> {
    let name = value::text(v, "metadata.name");
    if name == ctx.name() {
        return Ok(());
    }
    Err(Status::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({})", ctx.name())))
}

pub(crate) fn json_patch(v: Value, patch: Value) -> Result<Value, Status> {
    let operations = patch.as_array().ok_or_else(|| Status::bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"))?;
    if operations.len() > OPERATIONS {
        let message = format!("The allowed maximum operations in a JSON patch is {OPERATIONS}, got {}", operations.len());
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    let (mut v, mut rest) = (v, Vec::with_capacity(operations.len()));
    for op in operations {
        // A test of an absent value against null holds, as it does upstream.
        let path = op.get("path").and_then(Value::as_str).unwrap_or_default();
        if op["op"] == "test" && op.get("value").is_none_or(Value::is_null) && v.pointer(path).is_none_or(Value::is_null) {
            continue;
        }
        rest.push(op.clone());
    }
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(rest)).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    json_patch::patch(&mut v, &patch).map_err(|e| {
        let why = e.to_string();
        Status { code: 422, ..Status::new(Reason::Invalid, format!("the server rejected our request due to an error in our request: {why}")) }
    })?;
    Ok(v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[test]
    fn json_patches() {
        let v = json!({"metadata": {"labels": {"a": "b"}}});
        let patch = json!([{"op": "test", "path": "/metadata/finalizers", "value": null}, {"op": "add", "path": "/metadata/labels/c", "value": "d"}]);
        assert_eq!(json_patch(v.clone(), patch).unwrap()["metadata"]["labels"]["c"], "d");
        let bad = json!([{"op": "test", "path": "/metadata/labels/a", "value": "x"}]);
        assert_eq!(json_patch(v.clone(), bad).unwrap_err().code, 422);
        assert_eq!(json_patch(v, json!({})).unwrap_err().code, 400);
    }
}
