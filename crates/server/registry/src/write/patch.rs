//! Patches: the stored object in the path's version, changed by the patch, goes the way of an update.
use super::{RACES, decode, options::WriteOptions};
use crate::{
    read::opened,
    registry::{Context, Registry},
    table::Role,
    value,
};
use skiff_json::Value;
use skiff_meta::{GroupVersion, Reason, Status, distrust, unfold};
use skiff_patch::PatchError;
use skiff_request::{Answer, PatchType};
use skiff_store::Entry;

impl Registry {
    pub(crate) async fn patch(&self, ctx: &Context<'_>, role: Option<Role>) -> Result<Answer, Status> {
        let options = WriteOptions::of(ctx.call)?;
        let kind = PatchType::of_media_type(&ctx.call.content_type).ok_or_else(|| unsupported(ctx))?;
        if kind == PatchType::Strategic && ctx.row.shape.table(&ctx.row.gvk(ctx.version())).is_none() {
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
        let revision =
            kind != PatchType::Json && skiff_json::from_slice::<Value>(&ctx.call.body).is_ok_and(|v| !value::text(&v, "metadata.resourceVersion").is_empty());
        causes || revision || !s.message.ends_with(super::update::MODIFIED)
    }

    async fn patch_entry(&self, ctx: &Context<'_>, options: &WriteOptions, entry: &Entry, kind: PatchType, role: Option<Role>) -> Result<Answer, Status> {
        let mut v = opened(ctx.row, ctx.version(), entry).await?;
        let to = GroupVersion::new(ctx.row.group.clone(), ctx.version().to_owned());
        if ctx.row.working(ctx.version()) != to {
            ctx.row.convert(&mut v, &ctx.row.working(ctx.version()), &to);
            // What the version has no word for by itself is there all the same, as Go writes it.
            ctx.row.shape.canonical(&ctx.row.gvk(ctx.version()), &mut v);
        }
        // What a patch may reach into must be there, and what it brings is not ours.
        let patch = if kind == PatchType::Json { Value::Null } else { decode_patch(&ctx.call.body)? };
        let reached = kind == PatchType::Json || patch.pointer("/metadata/managedFields").is_some();
        if reached {
            unfold(&mut v);
        }
        let mut v = match kind {
            PatchType::Json => skiff_patch::json_patch(&v, &ctx.call.body).map_err(refused)?,
            PatchType::Merge => skiff_patch::merge_patch(&v, &patch),
            _ => {
                let ty = ctx.row.shape.table(&ctx.row.gvk(ctx.version())).ok_or_else(|| unsupported(ctx))?;
                skiff_patch::strategic_patch(&v, &patch, ty).map_err(refused)?
            }
        };
        if reached {
            distrust(&mut v);
        }
        let named = (value::text(&v, "apiVersion").to_owned(), value::text(&v, "kind").to_owned());
        let own = ctx.row.gvk(ctx.version());
        if named != (own.api_version(), own.kind.to_string()) {
            let text = format!("no kind {:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:111\"", named.1, named.0);
            return Err(unfit(ctx, kind, &v, &text));
        }
        let mut incoming = decode::patched(ctx, options, v.clone(), findings(kind, &ctx.call.body)).map_err(|e| {
            match e.message.split_once(&format!("cannot be handled as a {}: ", own.kind)) {
                Some((_, why)) => unfit(ctx, kind, &v, why),
                None => e,
            }
        })?;
        check_identity(ctx, &incoming.value)?;
        decode::in_namespace(ctx, &mut incoming.value)?;
        self.replace(ctx, options, entry, incoming, role).await
    }

    async fn apply(&self, ctx: &Context<'_>, options: &WriteOptions, entry: Option<Entry>, role: Option<Role>) -> Result<Answer, Status> {
        if entry.is_none() && role.is_some() {
            return Err(Status::not_found(&ctx.row.group_resource(), ctx.name()));
        }
        let incoming = self.applied(ctx, options, entry.as_ref()).await?;
        match entry {
            Some(entry) => self.replace(ctx, options, &entry, incoming, role).await,
            None => {
                self.authorize(ctx.user, "create", &ctx.call.target).await?;
                self.create_value(ctx, options, incoming).await
            }
        }
    }
}

pub(crate) fn refused(e: PatchError) -> Status {
    match e {
        PatchError::Malformed(why) => Status::bad_request(why),
        PatchError::Unknown(why) => Status::plain(500, why),
        PatchError::Unfit(_) | PatchError::TestFailed(_) => Status::generic(Reason::Invalid, "the server rejected our request due to an error in our request"),
        e @ PatchError::TooMany { .. } => Status::new(Reason::RequestEntityTooLarge, e.to_string()),
    }
}

/// 422 of a patch that makes something else than an object of the kind. Shown is the object that it made, or, of a
/// strategic one, the patch.
fn unfit(ctx: &Context<'_>, kind: PatchType, made: &Value, why: &str) -> Status {
    let patch: Value = skiff_json::from_slice(&ctx.call.body).unwrap_or_default();
    let mut made = made.clone();
    unfold(&mut made);
    let shown = match kind {
        PatchType::Strategic => skiff_patch::shown(&patch),
        PatchType::Json => skiff_validation::shown(&ordered(&made, &touched(&patch))),
        _ => skiff_validation::shown(&ordered(&made, &patch)),
    };
    let cause =
        skiff_meta::Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {}: {why}", Value::String(shown)), field: "patch".into() };
    Status::invalid("", "", "", vec![cause])
}

/// The objects that a JSON patch reaches into, as a merge patch would have them.
fn touched(patch: &Value) -> Value {
    let mut all = Value::Object(Default::default());
    for path in patch.as_array().into_iter().flatten().filter_map(|op| op.get("path")?.as_str()) {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        let mut at = &mut all;
        for step in steps.iter().take(steps.len().saturating_sub(1)) {
            if !at[*step].is_object() {
                at[*step] = Value::Object(Default::default());
            }
            at = &mut at[*step];
        }
    }
    all
}

/// Upstream sorts the members of the objects that a patch reaches into, and leaves the others as they were.
fn ordered(v: &Value, patch: &Value) -> Value {
    let (Value::Object(members), Value::Object(patch)) = (v, patch) else { return v.clone() };
    let sorted: std::collections::BTreeMap<_, _> = members.iter().collect();
    let none = Value::Null;
    Value::Object(sorted.into_iter().map(|(k, v)| (k.clone(), ordered(v, patch.get(k).unwrap_or(&none)))).collect())
}

fn unsupported(ctx: &Context<'_>) -> Status {
    if ctx.row.custom.is_none() {
        return Status::generic(Reason::UnsupportedMediaType, "415: Unsupported Media Type");
    }
    let accepted: Vec<&str> = [PatchType::Json, PatchType::Merge, PatchType::Strategic, PatchType::Apply]
        .into_iter()
        .filter(|p| *p != PatchType::Strategic || ctx.row.shape.table(&ctx.row.gvk(ctx.version())).is_some())
        .map(PatchType::media_type)
        .collect();
    let message = format!("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", "));
    Status::new(Reason::UnsupportedMediaType, message)
}

pub(crate) fn decode_patch(body: &[u8]) -> Result<Value, Status> {
    match skiff_json::from_slice(body) {
        Ok(v @ Value::Object(_)) => Ok(v),
        Ok(v) => Err(Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            skiff_patch::json_type(&v)
        ))),
        Err(_) => Err(Status::bad_request("invalid JSON patch")),
    }
}

/// What strict reading finds in a patch itself: fields given twice, and fields of operations that are none.
fn findings(kind: PatchType, body: &[u8]) -> Vec<String> {
    if kind != PatchType::Json {
        let found = skiff_codec::decode_custom_json(body).map(|d| d.strict).unwrap_or_default();
        return found.into_iter().filter(|f| f.starts_with("duplicate field")).collect();
    }
    let operations: Vec<Value> = skiff_json::from_slice(body).unwrap_or_default();
    let known = |k: &str| matches!(k, "op" | "path" | "from" | "value");
    let unknown = |(i, o): (usize, &Value)| -> Vec<String> {
        o.as_object().into_iter().flatten().filter(|(k, _)| !known(k)).map(|(k, _)| format!("json patch unknown field \"[{i}].{k}\"")).collect()
    };
    operations.iter().enumerate().flat_map(unknown).collect()
}

fn check_identity(ctx: &Context<'_>, v: &Value) -> Result<(), Status> {
    let name = value::text(v, "metadata.name");
    if name == ctx.name() {
        return Ok(());
    }
    Err(Status::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({})", ctx.name())))
}
