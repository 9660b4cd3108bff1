//! Managed fields: who set what, and server-side apply.
use super::{
    decode::{self, Incoming},
    options::{FieldValidation, WriteOptions},
};
use crate::{
    read::opened,
    registry::{Context, Registry},
    strategy::StatusMetadata,
    table::Role,
    value,
};
use skiff_apply::{ApplyError, Tracker};
use skiff_json::Value;
use skiff_meta::{GroupVersion, GroupVersionKind, Status};
use skiff_store::Entry;
use std::borrow::Cow;

/// What the object's own endpoint does not write, and what a status does not.
fn reset(ctx: &Context<'_>) -> &'static [&'static str] {
    match ctx.row.subresource(&ctx.call.target.subresource).map(|s| s.role) {
        Some(Role::Status) if &*ctx.row.plural == "certificatesigningrequests" => &["spec", "status.conditions"],
        Some(Role::Approval) => &["spec", "status.certificate"],
        None if &*ctx.row.plural == "certificatesigningrequests" => &["spec", "status"],
        Some(Role::Status) if ctx.row.custom.is_some() => &["metadata", "spec"],
        Some(Role::Status) => match ctx.row.strategy.status_metadata {
            StatusMetadata::Free => &["spec"],
            StatusMetadata::NoLabels => &["spec", "metadata.labels"],
            StatusMetadata::Kept => &["metadata", "spec"],
        },
        Some(_) => &[],
        None if ctx.row.strategy.status => &["status"],
        None => &[],
    }
}

impl Registry {
    /// Records what a create or an update set in `v`, which is of the path's version; `old` is of the one worked in.
    pub(crate) fn track_update(&self, ctx: &Context<'_>, options: &WriteOptions, v: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        let (kind, now) = (ctx.row.gvk(ctx.version()), self.now().to_string());
        let api_version = kind.api_version();
        let (working, to) = (ctx.row.working(ctx.version()), kind.group_version());
        let before = match old {
            Some(old) if working == to => Cow::Borrowed(old),
            Some(old) => {
                let mut old = old.clone();
                ctx.row.convert(&mut old, &working, &to);
                Cow::Owned(old)
            }
            None => Cow::Owned(ctx.row.shape.empty(&kind)),
        };
        let shape = ctx.row.shape.merging(&kind);
        Tracker::new(shape, &api_version, &ctx.call.target.subresource, reset(ctx)).folded(ctx.row.custom.is_none()).update(&before, v, &options.manager, &now);
        Ok(())
    }

    /// Records who set the fields of a body that is answered and kept nowhere.
    pub(crate) fn track_body(&self, ctx: &Context<'_>, options: &WriteOptions, kind: &GroupVersionKind, v: &mut Value) {
        let (shape, now) = (crate::shape::builtin(), self.now().to_string());
        Tracker::new(shape.merging(kind), &kind.api_version(), &ctx.call.target.subresource, &[]).update(&shape.empty(kind), v, &options.manager, &now);
    }

    /// The object that the applied configuration makes of the stored one.
    pub(crate) async fn applied(&self, ctx: &Context<'_>, options: &WriteOptions, entry: Option<&Entry>) -> Result<Incoming, Status> {
        let (kind, now) = (ctx.row.gvk(ctx.version()), self.now().to_string());
        let (mut config, strict) = configuration(ctx)?;
        let place = format!("{}/{}", value::text(&config, "metadata.namespace"), ctx.name());
        decode::in_namespace(ctx, &mut config)?;
        let mut live = match entry {
            Some(e) => opened(ctx.row, ctx.version(), e).await?,
            None => Value::Null,
        };
        let (working, to): (GroupVersion, GroupVersion) = (ctx.row.working(ctx.version()), kind.group_version());
        if entry.is_some() {
            ctx.row.convert(&mut live, &working, &to);
        }
        let shape = ctx.row.shape.merging(&kind);
        let api_version = kind.api_version();
        let tracker = Tracker::new(shape, &api_version, &ctx.call.target.subresource, reset(ctx)).folded(ctx.row.custom.is_none());
        let v = tracker.apply_to(&mut live, &config, &options.manager, options.force, &now).map_err(|e| refused(ctx, &place, e))?;
        let uid = value::text(&v, "metadata.uid");
        if entry.is_none() && !uid.is_empty() {
            return Err(Status::conflict(
                &ctx.row.group_resource(),
                ctx.name(),
                &format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found"),
            ));
        }
        let mut incoming = decode::patched(ctx, options, v, Vec::new())?;
        match options.validation {
            FieldValidation::Strict if !strict.is_empty() => {
                return Err(Status::bad_request(format!("error strict decoding YAML: error converting YAML to JSON: {}", strict.join("; "))));
            }
            // A warning of each line, without the parser's heading.
            FieldValidation::Warn => incoming.warnings.extend(strict.iter().map(|w| w.lines().last().unwrap_or_default().trim().to_owned())),
            _ => {}
        }
        let before = (entry.is_some() && working == to).then_some(live);
        Ok(Incoming { tracked: true, before, ..incoming })
    }
}

/// `place` is the namespace that the configuration names, if it names one, and the object.
fn refused(ctx: &Context<'_>, place: &str, e: ApplyError) -> Status {
    match e {
        ApplyError::Conflict(status) => status,
        e @ ApplyError::ManagedFieldsGiven => Status::bad_request(e.to_string()),
        ApplyError::Walk(why) => {
            let kind = ctx.row.gvk(ctx.version());
            Status::plain(500, format!("failed to create typed patch object ({place}; {kind}): {why}"))
        }
    }
}

/// The body, YAML or JSON, checked to be of this object, and what strict reading finds.
fn configuration(ctx: &Context<'_>) -> Result<(Value, Vec<String>), Status> {
    configuration_of(ctx, &ctx.row.gvk(ctx.version()))
}

/// The object's Scale with its managers, as an apply of `configuration` makes it.
pub(super) fn applied_scale(ctx: &Context<'_>, options: &WriteOptions, live: &Value, now: &str) -> Result<Value, Status> {
    let kind = GroupVersionKind::new("autoscaling", "v1", "Scale");
    let (config, _) = configuration_of(ctx, &kind)?;
    let place = format!("{}/{}", value::text(&config, "metadata.namespace"), ctx.name());
    of_scale(ctx).apply(live, &config, &options.manager, options.force, now).map(|(scale, _)| scale).map_err(|e| refused(ctx, &place, e))
}

/// Records what an update of the Scale `before` to `scale` set.
pub(super) fn updated_scale(ctx: &Context<'_>, options: &WriteOptions, before: &Value, scale: &mut Value, now: &str) {
    of_scale(ctx).update(before, scale, &options.manager, now);
}

fn of_scale<'a>(ctx: &'a Context<'_>) -> Tracker<'a> {
    let shape = skiff_schema::by_gvk("autoscaling", "v1", "Scale").map_or(skiff_apply::Shape::Deduced, skiff_apply::Shape::Struct);
    Tracker::new(shape, "autoscaling/v1", &ctx.call.target.subresource, &["status"])
}

fn configuration_of(ctx: &Context<'_>, kind: &GroupVersionKind) -> Result<(Value, Vec<String>), Status> {
    if ctx.call.query.get("fieldManager").unwrap_or_default().is_empty() {
        let cause = skiff_meta::Cause {
            reason: "FieldValueRequired".into(),
            message: "Required value: is required for apply patch".into(),
            field: "fieldManager".into(),
        };
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
    }
    let bad = |why: &dyn std::fmt::Display| {
        Status::bad_request(format!("error encoding patch: {}", why.to_string().replacen("error converting YAML to JSON", "yaml", 1)))
    };
    let (mut v, strict) = skiff_codec::yaml_to_value(&ctx.call.body).map_err(|e| bad(&e))?;
    let (api_version, given) = (value::text(&v, "apiVersion"), value::text(&v, "kind"));
    if given != kind.kind || api_version != kind.api_version() {
        let named = GroupVersion::parse(api_version).unwrap_or_else(|| GroupVersion::new("", api_version.to_owned())).kind(given.to_owned());
        return Err(Status::bad_request(format!("invalid object type: {named}")));
    }
    let name = value::text(&v, "metadata.name");
    if !name.is_empty() && name != ctx.name() {
        return Err(Status::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({})", ctx.name())));
    }
    value::set(&mut v, "metadata.name", ctx.name());
    Ok((v, strict))
}
