//! Replacement by PUT, of the object or of a part of it.
use super::{
    RACES,
    decode::{self, Incoming},
    options::WriteOptions,
    persist::Change,
};
use crate::{
    read::opened,
    registry::{Context, Registry},
    table::Role,
    value,
};
use skiff_json::Value;
use skiff_meta::{GroupVersion, Reason, Status};
use skiff_request::Answer;
use skiff_store::Entry;

/// What a client is told who wrote over somebody else's change.
pub(crate) const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

impl Registry {
    pub(crate) async fn update(&self, ctx: &Context<'_>, role: Option<Role>) -> Result<Answer, Status> {
        let options = WriteOptions::of(ctx.call)?;
        let mut incoming = decode::body(ctx, &options)?;
        decode::in_namespace(ctx, &mut incoming.value)?;
        let name = value::text(&incoming.value, "metadata.name");
        if name.is_empty() && role.is_none() && ctx.row.custom.is_none() {
            return Err(Status::bad_request(format!("the name of the object ({} based on URL) was undeterminable: name must be provided", ctx.name())));
        }
        if !name.is_empty() && name != ctx.name() {
            return Err(Status::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({})", ctx.name())));
        }
        value::set(&mut incoming.value, "metadata.name", ctx.name());
        // Without a revision to hold it to, an overwrite wins in the end.
        let unheld = value::text(&incoming.value, "metadata.resourceVersion").is_empty();
        for race in 0.. {
            let Some(entry) = self.store.get(&ctx.row.key(ctx.namespace(), ctx.name())) else {
                return self.create_by_update(ctx, &options, incoming, role).await;
            };
            if !unheld || race == RACES {
                return self.replace(ctx, &options, &entry, incoming, role).await;
            }
            match self.replace(ctx, &options, &entry, incoming.clone(), role).await {
                Err(s) if s.is(Reason::Conflict) => {}
                answer => return answer,
            }
        }
        Err(Status::internal("an update lost every race"))
    }

    async fn create_by_update(&self, ctx: &Context<'_>, options: &WriteOptions, incoming: Incoming, role: Option<Role>) -> Result<Answer, Status> {
        if role.is_some() || !ctx.row.strategy.create_on_update {
            return Err(Status::not_found(&ctx.row.group_resource(), ctx.name()));
        }
        self.authorize(ctx.user, "create", &ctx.call.target).await?;
        let mut incoming = incoming;
        value::remove(&mut incoming.value, "metadata.resourceVersion");
        self.create_value(ctx, options, incoming).await
    }

    /// Puts an object of the path's version in the place of `entry`.
    pub(crate) async fn replace(
        &self,
        ctx: &Context<'_>,
        options: &WriteOptions,
        entry: &Entry,
        incoming: Incoming,
        role: Option<Role>,
    ) -> Result<Answer, Status> {
        let Incoming { value: mut v, mut warnings, tracked, before, hollow } = incoming;
        if ctx.call.verb == skiff_request::Verb::Update {
            warnings.extend(super::metadata::dedup_owners(&mut v, super::metadata::Dedup::AsSent));
        }
        let old = match before {
            Some(old) => old,
            None => opened(ctx.row, ctx.version(), entry).await?,
        };
        self.expect(ctx, entry, &old, &v, role)?;
        let (version, kind) = (GroupVersion::new(ctx.row.group.clone(), ctx.version().to_owned()), ctx.row.gvk(ctx.version()));
        if let Some(read) = ctx.row.strategy.read {
            read(&mut v);
        }
        ctx.row.shape.default(&kind, &mut v, &self.now().to_string());
        ctx.row.pass_through(&mut v, &version, &ctx.row.working(ctx.version()));
        if !tracked {
            self.track_update(ctx, options, &mut v, Some(&old))?;
        }
        if hollow {
            ctx.row.shape.canonical(&kind, &mut v);
        }
        ctx.row.convert(&mut v, &version, &ctx.row.working(ctx.version()));
        self.persist(ctx, options, v, Change { old: Some((entry.clone(), old)), role, warnings, code: 200 }).await
    }

    /// The revision and the uid that the client means must be those of the stored object.
    fn expect(&self, ctx: &Context<'_>, entry: &Entry, old: &Value, v: &Value, role: Option<Role>) -> Result<(), Status> {
        let (row, name) = (ctx.row.group_resource(), ctx.name());
        let uid = value::text(v, "metadata.uid");
        let held = value::text(old, "metadata.uid");
        // A patch of the uid is an invalid change, not a precondition.
        if !uid.is_empty() && uid != held && ctx.call.verb != skiff_request::Verb::Patch {
            let key = ctx.row.upstream_key(ctx.namespace(), name);
            return Err(Status::conflict(
                &row,
                name,
                &format!(
                    "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {held}"
                ),
            ));
        }
        match value::text(v, "metadata.resourceVersion") {
            "" if ctx.row.strategy.unconditional_update || (role.is_some() && ctx.row.custom.is_none()) || ctx.call.verb == skiff_request::Verb::Patch => {
                Ok(())
            }
            "" => Err(Status::invalid(
                &ctx.row.group,
                // By the resource, unlike all other errors of its sort.
                &ctx.row.plural,
                name,
                vec![super::metadata::invalid("metadata.resourceVersion", &skiff_json::json!(0), "must be specified for an update")],
            )),
            asked if asked == entry.revision.to_string() => Ok(()),
            asked if asked.parse::<u64>().is_err() => {
                Err(Status::plain(500, format!("strconv.ParseUint: parsing {asked:?}: {}", skiff_meta::go::number_error(asked))))
            }
            _ => Err(Status::conflict(&row, name, MODIFIED)),
        }
    }
}

/// A stored object of a built-in kind, its managed fields folded.
pub(crate) fn stored(entry: &Entry) -> Result<Value, Status> {
    skiff_meta::folded(&entry.bytes).map_err(|e| Status::internal(format!("decode stored {}: {e}", entry.key)))
}
