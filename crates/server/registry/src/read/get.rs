//! GET of one object.
use super::{
    options::{no_revision, parse_revision},
    too_new, view,
};
use crate::registry::{Context, Registry};
use skiff_meta::Status;
use skiff_request::Answer;

/// `resourceVersion` asks for a state not older; the present state always is at least as new unless it is ahead.
pub(crate) async fn get(registry: &Registry, ctx: &Context<'_>) -> Result<Answer, Status> {
    let asked = parse_revision(ctx.call.query.get("resourceVersion")).map_err(|s| if ctx.row.strategy.uncached { no_revision(&s) } else { s })?;
    if let Some(asked) = asked
        && asked > registry.store.revision()
    {
        return Err(too_new(ctx.row, asked, registry.store.revision()));
    }
    let key = ctx.row.key(ctx.namespace(), ctx.name());
    let entry = registry.store.get(&key).ok_or_else(|| Status::not_found(&ctx.row.group_resource(), ctx.name()))?;
    let bytes = view(ctx.row, ctx.version(), &entry.bytes, entry.revision).await?;
    Ok(Answer::Object { code: 200, kind: ctx.row.gvk(ctx.version()), bytes, warnings: Vec::new() })
}
