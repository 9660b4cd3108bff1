//! The scale subresource: a view of the replicas of any workload, and a way to set them.
use super::{RACES, decode, options::WriteOptions};
use crate::{
    read::opened,
    registry::{Context, Registry},
    table::{Role, ScalePaths},
    value,
};
use skiff_json::{Value, json};
use skiff_meta::{Cause, GroupVersionKind, LabelSelector, Reason, Status};
use skiff_request::{Answer, PatchType, Verb};
use skiff_store::Entry;

fn kind() -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", "v1", "Scale")
}

/// `spec.replicas` is left out when it is zero.
fn view(paths: &ScalePaths, entry: &Entry, v: &Value) -> Value {
    let mut meta = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        match key {
            "resourceVersion" => meta[key] = entry.revision.to_string().into(),
            _ => value::copy(&mut meta, &v["metadata"], key),
        }
    }
    let mut scale =
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": {}, "status": {"replicas": value::int(v, &paths.current)}});
    if value::int(v, &paths.desired) != 0 {
        scale["spec"]["replicas"] = value::int(v, &paths.desired).into();
    }
    let selector = selector(paths, v);
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

fn selector(paths: &ScalePaths, v: &Value) -> String {
    if let Some(path) = &paths.selector {
        return value::text(v, path).to_owned();
    }
    match value::at(v, "spec.selector") {
        // A ReplicationController selects by a plain map.
        Some(Value::Object(m)) if !m.contains_key("matchLabels") && !m.contains_key("matchExpressions") => {
            LabelSelector::from_map(m.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))).to_string()
        }
        other => LabelSelector::from_json(other).map(|s| s.to_string()).unwrap_or_default(),
    }
}

fn answer(scale: &Value, warnings: Vec<String>) -> Answer {
    Answer::Object { code: 200, kind: kind(), bytes: scale.to_string().into(), warnings }
}

pub(crate) async fn scale(registry: &Registry, ctx: &Context<'_>, verb: Verb) -> Result<Answer, Status> {
    let key = ctx.row.key(ctx.namespace(), ctx.name());
    for race in 0.. {
        let entry = registry.store.get(&key).ok_or_else(|| Status::not_found(&ctx.row.group_resource(), ctx.name()))?;
        let old = opened(ctx.row, ctx.version(), &entry).await?;
        if verb == Verb::Get {
            return Ok(answer(&view(&ctx.row.scale, &entry, &old), Vec::new()));
        }
        let wanted = wanted(registry, ctx, verb, &view(&ctx.row.scale, &entry, &old), &old)?;
        let held = value::text(&wanted, "metadata.resourceVersion");
        let asked = verb == Verb::Update && !held.is_empty();
        if asked && held != entry.revision.to_string() {
            return Err(Status::conflict(&ctx.row.group_resource(), ctx.name(), super::update::MODIFIED));
        }
        match set(registry, ctx, &entry, &old, &wanted).await {
            Err(s) if s.is(Reason::Conflict) && !asked && race < RACES => {}
            answer => return answer,
        }
    }
    Err(Status::internal("a scaling lost every race"))
}

fn wanted(registry: &Registry, ctx: &Context<'_>, verb: Verb, current: &Value, object: &Value) -> Result<Value, Status> {
    if verb == Verb::Update {
        let scale = decode::other(ctx, &kind())?;
        let name = value::text(&scale, "metadata.name");
        if !name.is_empty() && name != ctx.name() {
            return Err(Status::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({})", ctx.name())));
        }
        return Ok(scale);
    }
    match PatchType::of_media_type(&ctx.call.content_type) {
        Some(PatchType::Json) => skiff_patch::json_patch(current, &ctx.call.body).map_err(super::patch::refused),
        Some(PatchType::Apply) => {
            let mut live = current.clone();
            // What is zero is not shown, yet it is there: who applies the same has no quarrel with its owner.
            live["spec"]["replicas"] = value::int(object, &ctx.row.scale.desired).into();
            live["metadata"]["managedFields"] = skiff_apply::managers_of_scale(object.pointer("/metadata/managedFields"), &ctx.row.scale.desired).into();
            super::apply::applied_scale(ctx, &WriteOptions::of(ctx.call)?, &live, &registry.now().to_string())
        }
        _ => Ok(skiff_patch::merge_patch(current, &super::patch::decode_patch(&ctx.call.body)?)),
    }
}

async fn set(registry: &Registry, ctx: &Context<'_>, entry: &Entry, old: &Value, wanted: &Value) -> Result<Answer, Status> {
    let options = WriteOptions::of(ctx.call)?;
    let mut wanted = wanted.clone();
    let warnings = registry.admit_body(ctx, kind(), &mut wanted, Some(&view(&ctx.row.scale, entry, old)), options.dry_run).await?;
    let replicas = value::int(&wanted, "spec.replicas");
    // What a custom resource makes of it is its own validation's.
    if replicas < 0 && ctx.row.custom.is_none() {
        let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        let cause = Cause { reason: "FieldValueInvalid".into(), message, field: "spec.replicas".into() };
        return Err(Status::invalid("autoscaling", "Scale", ctx.name(), vec![cause]));
    }
    let mut v = old.clone();
    value::set(&mut v, &ctx.row.scale.desired, replicas);
    if PatchType::of_media_type(&ctx.call.content_type) != Some(PatchType::Apply) || ctx.call.verb != Verb::Patch {
        let mut before = view(&ctx.row.scale, entry, old);
        before["metadata"]["managedFields"] = skiff_apply::managers_of_scale(old.pointer("/metadata/managedFields"), &ctx.row.scale.desired).into();
        value::remove(&mut wanted, "metadata.managedFields");
        super::apply::updated_scale(ctx, &options, &before, &mut wanted, &registry.now().to_string());
    }
    let (before, theirs) = (old.pointer("/metadata/managedFields"), wanted.pointer("/metadata/managedFields"));
    let all = skiff_apply::managers_of_scaled(before, theirs, &ctx.row.scale.desired, &ctx.row.gvk(ctx.version()).api_version());
    if all.is_empty() {
        value::remove(&mut v, "metadata.managedFields");
    } else {
        value::set(&mut v, "metadata.managedFields", all);
    }
    let change = super::persist::Change { old: Some((entry.clone(), old.clone())), role: Some(Role::Scale), warnings, code: 200 };
    let Answer::Object { bytes, warnings, .. } = registry.persist(ctx, &options, v, change).await? else {
        return Err(Status::internal("scaling answered with no object"));
    };
    let new: Value = skiff_json::from_slice(&bytes).map_err(Status::internal)?;
    let revision = value::text(&new, "metadata.resourceVersion").parse().unwrap_or(entry.revision);
    Ok(answer(&view(&ctx.row.scale, &Entry { revision, ..entry.clone() }, &new), warnings))
}
