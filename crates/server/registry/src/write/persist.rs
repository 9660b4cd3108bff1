//! The end of every write: admission, preparation, validation, bytes, compare-and-swap.
use super::{hollow, metadata, options::WriteOptions, store_failure, update::MODIFIED};
use crate::{
    body,
    counts::Step,
    read::{sealed, view},
    registry::{Context, Registry},
    strategy::{MetadataRules, Prepare, StatusMetadata},
    table::Role,
    value,
};
use bytes::Bytes;
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionKind, Reason, Revision, Status};
use skiff_policy::{Attributes, Reinvocation};
use skiff_request::{Answer, Notes, Target, User, Verb};
use skiff_store::{Body, Entry, Expect, StoreError, Write};
use std::{sync::Arc, time::Instant};

/// What a write changes, and how it is answered.
pub(crate) struct Change {
    /// The state before, as the store has it and decoded.
    pub old: Option<(Entry, Value)>,
    pub role: Option<Role>,
    pub warnings: Vec<String>,
    pub code: u16,
}

impl Registry {
    /// Writes `v`, of the version worked in, and answers in the path's.
    pub(crate) async fn persist(&self, ctx: &Context<'_>, options: &WriteOptions, v: Value, change: Change) -> Result<Answer, Status> {
        let mut change = change;
        let mut warnings = std::mem::take(&mut change.warnings);
        let outcome = self.persist_telling(ctx, options, v, change, &mut warnings).await;
        match outcome {
            Ok(answer) => Ok(answer.warned(warnings)),
            Err(refusal) => Err(refusal.warned(&warnings)),
        }
    }

    /// Adds what the client is to be told to `warnings`, whatever becomes of the write.
    async fn persist_telling(
        &self,
        ctx: &Context<'_>,
        options: &WriteOptions,
        mut v: Value,
        change: Change,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        let old = change.old.as_ref().map(|(_, v)| v);
        self.keep_other_parts(ctx, &mut v, old, change.role);
        warnings.extend(self.admit(ctx, options, &mut v, old, change.role, Phase::Mutate).await?);
        warnings.extend(metadata::dedup_owners(&mut v, metadata::Dedup::AfterAdmission));
        if let Some(adopt) = ctx.row.strategy.adopt.filter(|_| old.is_none()) {
            warnings.extend(adopt(&mut v));
        }
        self.prepare(ctx, &mut v, old, change.role);
        let reserved = self.reserve(ctx, &mut v, &change, options.dry_run)?;
        let kind = ctx.row.working(ctx.version()).kind(ctx.row.kind.clone());
        ctx.row.shape.canonical(&kind, &mut v);
        self.validate(ctx, &v, old, change.role)?;
        if hollow::lists(&ctx.call.body) {
            ctx.row.shape.forget_empty_lists(&kind, &mut v);
        }
        warnings.extend(ctx.row.shape.warnings(&kind, &ctx.call.target.subresource, &v, old));
        let uid = value::text(&v, "metadata.uid").to_owned();
        match self.admit(ctx, options, &mut v, old, change.role, Phase::Validate).await {
            Ok(more) => warnings.extend(more),
            Err(refusal) => {
                self.settle(ctx, &uid, false);
                return Err(refusal);
            }
        }
        let outcome = self.store_object(ctx, options, &v, &change).await;
        self.settle(ctx, &uid, outcome.is_ok() && !options.dry_run);
        let (bytes, revision) = outcome?;
        if !options.dry_run {
            self.record_addresses(ctx, old, Some(&v)).await;
            reserved.keep();
        }
        let bytes = view(ctx.row, ctx.version(), &bytes, revision).await?;
        Ok(Answer::Object { code: change.code, kind: ctx.row.gvk(ctx.version()), bytes, warnings: Vec::new() })
    }

    /// A subresource writes its part only, and the object all but those parts.
    fn keep_other_parts(&self, ctx: &Context<'_>, v: &mut Value, old: Option<&Value>, role: Option<Role>) {
        let Some(old) = old else {
            if ctx.row.strategy.status && !ctx.row.strategy.born_with_status {
                value::remove(v, "status");
            }
            return;
        };
        metadata::carry_over(v, old);
        match role {
            None if ctx.row.strategy.status => value::copy(v, old, "status"),
            Some(Role::Status) => {
                let keys: Vec<_> = [&*v, old].iter().filter_map(|x| x.as_object()).flat_map(|m| m.keys().cloned()).collect();
                for key in keys.iter().filter(|k| !matches!(k.as_str(), "status" | "metadata" | "apiVersion" | "kind")) {
                    value::copy(v, old, key);
                }
                if ctx.row.custom.is_some() {
                    let managed = value::at(v, "metadata.managedFields").cloned();
                    value::copy(v, old, "metadata");
                    if let Some(m) = managed {
                        value::set(v, "metadata.managedFields", m);
                    }
                }
                let kept: &[&str] = match ctx.row.strategy.status_metadata {
                    StatusMetadata::Free => &[],
                    StatusMetadata::NoLabels => &["labels"],
                    StatusMetadata::Kept => &["labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp", "generation", "selfLink"],
                };
                for key in kept {
                    value::copy(v, old, &format!("metadata.{key}"));
                }
            }
            _ => {}
        }
    }

    fn prepare(&self, ctx: &Context<'_>, v: &mut Value, old: Option<&Value>, role: Option<Role>) {
        let strategy = &ctx.row.strategy;
        let p = Prepare { user: ctx.user, now: self.now(), role };
        if !strategy.pod_spec.is_empty() && !matches!(role, Some(Role::Binding)) {
            crate::strategy::gates::drop_of_pods(v, old, strategy.pod_spec);
        }
        crate::strategy::gates::drop_paths(v, old, strategy.gated);
        match old {
            None => {
                if let Some(f) = strategy.prepare_create {
                    f(v, &p);
                }
                // Kinds that do not count keep what a client says.
                if let Some(g) = strategy.generation {
                    value::remove(v, "metadata.generation");
                    if g.first > 0 {
                        value::set(v, "metadata.generation", g.first);
                    }
                }
            }
            Some(old) => {
                if let Some(f) = strategy.prepare_update {
                    f(v, old, &p);
                }
                if let Some(g) = strategy.generation
                    && !matches!(role, Some(Role::Status | Role::Binding))
                    && (g.changed)(v, old)
                {
                    value::set(v, "metadata.generation", value::int(old, "metadata.generation") + 1);
                }
            }
        }
    }

    /// What was sent empty is shown to the rules so: some refuse it, and some texts tell it.
    fn validate(&self, ctx: &Context<'_>, v: &Value, old: Option<&Value>, role: Option<Role>) -> Result<(), Status> {
        let mut causes = self.broken(ctx, v, old, role);
        if (hollow::lists(&ctx.call.body) || (!causes.is_empty() && (hollow::maps(&ctx.call.body) || hollow::void_items(&ctx.call.body))))
            && let Some(filled) = hollow::refilled(ctx, v, role)
        {
            causes = self.broken(ctx, &filled, old, role);
        }
        let working = ctx.row.working(ctx.version());
        if causes.is_empty() { Ok(()) } else { Err(Status::invalid(&working.group, &ctx.row.kind, value::text(v, "metadata.name"), causes)) }
    }

    fn broken(&self, ctx: &Context<'_>, v: &Value, old: Option<&Value>, role: Option<Role>) -> Vec<skiff_meta::Cause> {
        let mut causes: Vec<_> = self.admin_access(ctx, v, old, role).into_iter().collect();
        let mut general = metadata::validate(ctx.row, v, old.is_none());
        if let Some(old) = old {
            general.extend(metadata::validate_change(v, old));
            if ctx.row.strategy.metadata_twice {
                general.extend(metadata::told_again(ctx.row, role, &general));
            }
        }
        let working = ctx.row.working(ctx.version());
        // The rules are those of the group that was asked, the error names the one that the object is kept in.
        let kind = GroupVersionKind { group: ctx.row.group.clone(), ..working.kind(ctx.row.kind.clone()) };
        let kinds = ctx.row.shape.validate(&kind, &ctx.call.target.subresource, v, old);
        // A change is looked at from its metadata on, whatever the kind.
        let rules = if old.is_none() { ctx.row.strategy.metadata_rules } else { MetadataRules::First };
        let named = causes.len();
        causes.extend(rules.order(general, kinds, |c| &c.field));
        if old.is_none() {
            if rules == MetadataRules::First {
                metadata::names_first(&mut causes[named..]);
            }
            let behind = causes.iter().rposition(|c| !ctx.row.strategy.declared.contains(&c.field.as_str())).map_or(0, |last| last + 1);
            causes.splice(behind..behind, metadata::declared_name(ctx.row, v));
        }
        causes
    }

    async fn admit(
        &self,
        ctx: &Context<'_>,
        options: &WriteOptions,
        v: &mut Value,
        old: Option<&Value>,
        role: Option<Role>,
        phase: Phase,
    ) -> Result<Vec<String>, Status> {
        // Bodies of their own were shown before they changed the object.
        if matches!(role, Some(Role::Scale | Role::Binding)) {
            return Ok(Vec::new());
        }
        let verb = match (ctx.call.verb, old) {
            (Verb::Update | Verb::Patch, None) => Verb::Create,
            (Verb::Patch, Some(_)) => Verb::Update,
            (verb, _) => verb,
        };
        let mut target = ctx.call.target.clone();
        target.name = value::text(v, "metadata.name").to_owned();
        let asked = Asked {
            verb,
            connect: false,
            target: &target,
            kind: ctx.row.working(ctx.version()).kind(ctx.row.kind.clone()),
            old,
            object: Some(v),
            dry_run: options.dry_run,
            notes: ctx.call.notes.as_deref(),
        };
        self.ask_plugins(ctx.user, &options.given(), asked, phase).await
    }

    /// Asks about the deletion of an object, whatever call brings it about.
    pub(crate) async fn admit_deletion(&self, ctx: &Context<'_>, options: &Value, old: &Value, dry_run: bool) -> Result<Vec<String>, Status> {
        let mut target = ctx.call.target.clone();
        target.name = value::text(old, "metadata.name").to_owned();
        target.namespace = value::text(old, "metadata.namespace").to_owned();
        target.subresource.clear();
        let asked = || Asked {
            verb: Verb::Delete,
            connect: false,
            target: &target,
            kind: ctx.row.working(ctx.version()).kind(ctx.row.kind.clone()),
            old: Some(old),
            object: None,
            dry_run,
            notes: ctx.call.notes.as_deref(),
        };
        let mut warnings = self.ask_plugins(ctx.user, options, asked(), Phase::Mutate).await?;
        warnings.extend(self.ask_plugins(ctx.user, options, asked(), Phase::Validate).await?);
        Ok(warnings)
    }

    /// Asks about the body of a subresource that is an object of its own: Scale, Binding, Eviction, TokenRequest.
    pub(crate) async fn admit_body(
        &self,
        ctx: &Context<'_>,
        kind: GroupVersionKind,
        body: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<Vec<String>, Status> {
        let options = json!({"dryRun": if dry_run { json!(["All"]) } else { json!([]) }});
        let verb = if old.is_some() { Verb::Update } else { Verb::Create };
        body["apiVersion"] = kind.api_version().into();
        body["kind"] = kind.kind.as_ref().into();
        let asked = Asked { verb, connect: false, target: &ctx.call.target, kind, old, object: None, dry_run, notes: ctx.call.notes.as_deref() };
        self.ask_about(ctx.user, &options, asked, body).await
    }

    /// Asks about a connection; `options` is its parameters as an object. Gives warnings.
    pub async fn admit_connection(&self, user: &Arc<User>, target: &Target, options: Value, notes: Option<&Notes>) -> Result<Vec<String>, Status> {
        let row = self.table.get(&target.resource.group, &target.resource.resource);
        let kind = row.and_then(|row| row.body_kind(&target.resource.version, &target.subresource)).ok_or_else(crate::registry::no_such_resource)?;
        let mut body = options;
        body["apiVersion"] = kind.api_version().into();
        body["kind"] = kind.kind.as_ref().into();
        let asked = Asked { verb: Verb::Create, connect: true, target, kind, old: None, object: None, dry_run: false, notes };
        self.ask_about(user, &Value::Null, asked, &mut body).await
    }

    /// Both phases about `body`.
    async fn ask_about(&self, user: &Arc<User>, options: &Value, asked: Asked<'_>, body: &mut Value) -> Result<Vec<String>, Status> {
        let Asked { verb, connect, target, kind, old, dry_run, notes, .. } = asked;
        let mut warnings = Vec::new();
        for phase in [Phase::Mutate, Phase::Validate] {
            let asked = Asked { verb, connect, target, kind: kind.clone(), old, object: Some(&mut *body), dry_run, notes };
            warnings.extend(self.ask_plugins(user, options, asked, phase).await?);
        }
        Ok(warnings)
    }

    async fn ask_plugins(&self, user: &Arc<User>, options: &Value, asked: Asked<'_>, phase: Phase) -> Result<Vec<String>, Status> {
        let mut a = Attributes {
            user,
            verb: asked.verb,
            connect: asked.connect,
            target: asked.target,
            kind: &asked.kind,
            old: asked.old,
            object: asked.object,
            options,
            dry_run: asked.dry_run,
            warnings: Vec::new(),
            audit: Default::default(),
            reinvocation: Reinvocation::default(),
            lookup: self,
        };
        let asked_all = self.ask_each(&mut a, phase).await;
        if let Some(notes) = asked.notes {
            notes.extend(std::mem::take(&mut a.audit));
        }
        let warnings = a.warnings;
        match asked_all {
            Ok(()) => Ok(warnings),
            Err(refusal) => Err(refusal.warned(&warnings)),
        }
    }

    async fn ask_each(&self, a: &mut Attributes<'_>, phase: Phase) -> Result<(), Status> {
        let (step, begun) = (Step::of(a.verb, a.connect, phase == Phase::Validate), Instant::now());
        let asked = match phase {
            Phase::Validate => self.look(a, step).await,
            Phase::Mutate => self.mutate_twice(a, step).await,
        };
        self.counts.step(step, asked.is_err(), begun.elapsed());
        asked
    }

    async fn look(&self, a: &mut Attributes<'_>, step: Step) -> Result<(), Status> {
        let mut since = Instant::now();
        for (i, plugin) in self.options.admission.iter().enumerate() {
            let asked = plugin.validate(a).await;
            since = self.counted(i, step, asked.is_err(), since);
            asked?;
        }
        Ok(())
    }

    /// Counts what a plug-in took since then; the next one begins now.
    fn counted(&self, plugin: usize, step: Step, rejected: bool, since: Instant) -> Instant {
        let now = Instant::now();
        self.counts.plugin(plugin, step, rejected, now - since);
        now
    }

    async fn mutate_twice(&self, a: &mut Attributes<'_>, step: Step) -> Result<(), Status> {
        self.mutate(a, step).await?;
        if std::mem::take(&mut a.reinvocation.wanted) {
            a.reinvocation.again = true;
            self.mutate(a, step).await?;
        }
        Ok(())
    }

    async fn mutate(&self, a: &mut Attributes<'_>, step: Step) -> Result<(), Status> {
        let mut since = Instant::now();
        for (i, plugin) in self.options.admission.iter().enumerate() {
            let asked = plugin.mutate(a).await;
            since = self.counted(i, step, asked.is_err(), since);
            asked?;
        }
        Ok(())
    }

    fn settle(&self, ctx: &Context<'_>, uid: &str, committed: bool) {
        for plugin in &self.options.admission {
            plugin.settle(&ctx.call.target, uid, committed);
        }
    }

    /// Commits, or finds that nothing is to be committed: no change, or a dry run.
    async fn store_object(&self, ctx: &Context<'_>, options: &WriteOptions, v: &Value, change: &Change) -> Result<(Bytes, Revision), Status> {
        let body = match ctx.row.working(ctx.version()) == ctx.row.stored {
            true => body::encode(v),
            false => body::encode(&sealed(ctx.row, ctx.version(), v.clone()).await?),
        };
        let key = ctx.row.key(ctx.namespace(), value::text(v, "metadata.name"));
        let Some((entry, _)) = &change.old else {
            if !value::text(v, "metadata.resourceVersion").is_empty() {
                return Err(Status { code: 500, ..Status::new(Reason::Unknown, "resourceVersion should not be set on objects to be created") });
            }
            if options.dry_run {
                return match self.store.get(&key) {
                    Some(_) => Err(self.taken(ctx, &key, value::text(v, "metadata.name"))),
                    None => Ok((crate::body::unstamped(&body), Revision::ZERO)),
                };
            }
            let entry = self.commit(ctx, &key, Expect::Absent, Some(body)).await?;
            return Ok((entry.bytes, entry.revision));
        };
        let same = body.stamped(entry.revision);
        if same == entry.bytes {
            return Ok((entry.bytes.clone(), entry.revision));
        }
        if options.dry_run {
            return Ok((same, entry.revision));
        }
        // An object that only its finalizers held goes with the last of them.
        let released = entry.row.deleting && value::list(v, "metadata.finalizers").is_empty() && value::int(v, "metadata.deletionGracePeriodSeconds") == 0;
        if released && self.may_vanish(ctx, v) {
            let gone = self.commit(ctx, &key, Expect::At(entry.revision), None).await?;
            self.record_addresses(ctx, Some(v), None).await;
            self.release(ctx, v);
            return Ok((body.stamped(gone.revision), gone.revision));
        }
        let entry = self.commit(ctx, &key, Expect::At(entry.revision), Some(body)).await?;
        Ok((entry.bytes, entry.revision))
    }

    /// A namespace stays until its own finalizers are gone, too.
    fn may_vanish(&self, ctx: &Context<'_>, v: &Value) -> bool {
        &*ctx.row.storage != "namespaces" || crate::strategy::namespace::finalized(v)
    }

    /// The name of a new object belongs to another, which may be on its way out.
    fn taken(&self, ctx: &Context<'_>, key: &str, name: &str) -> Status {
        let s = Status::already_exists(&ctx.row.group_resource(), name);
        match self.store.get(key) {
            Some(e) if e.row.deleting => Status { message: format!("object is being deleted: {}", s.message), ..s },
            _ => s,
        }
    }

    pub(crate) async fn commit(&self, ctx: &Context<'_>, key: &str, expect: Expect, body: Option<Body>) -> Result<Entry, Status> {
        let row = ctx.row.group_resource();
        let name = key.splitn(3, '/').nth(2).unwrap_or_default();
        let operation = match (&expect, &body) {
            (_, None) => "delete",
            (Expect::Absent, _) => "create",
            _ => "update",
        };
        let begun = Instant::now();
        let committed = self.store.commit(Write { key: key.into(), expect, body, tier: ctx.row.tier }).await;
        self.counts.wrote(ctx.row, operation, committed.is_ok(), begun.elapsed());
        committed.map_err(|e| match e {
            StoreError::Conflict { current: Some(_), .. } if expect == Expect::Absent => self.taken(ctx, key, name),
            StoreError::Conflict { current: None, .. } => Status::not_found(&row, name),
            StoreError::Conflict { .. } => Status::conflict(&row, name, MODIFIED),
            e => store_failure(e),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Mutate,
    Validate,
}

/// What plug-ins are asked about.
struct Asked<'a> {
    verb: Verb,
    connect: bool,
    target: &'a Target,
    kind: GroupVersionKind,
    old: Option<&'a Value>,
    object: Option<&'a mut Value>,
    dry_run: bool,
    /// Where annotations of the audit record go.
    notes: Option<&'a Notes>,
}
