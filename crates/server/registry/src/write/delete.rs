//! Deletion: preconditions, grace, finalizers, and what becomes of dependents.
//!
//! An object with finalizers, or with grace left, is only marked; it goes with the last finalizer. Dependents are the
//! garbage collector's: the policy of the request puts or takes the finalizers `orphan` and `foregroundDeletion`.
use super::{RACES, options::WriteOptions};
use crate::{
    body,
    read::{opened, sealed, view},
    registry::{Context, Registry},
    value,
};
use skiff_json::{Value, json};
use skiff_meta::{Cause, GroupResource, Reason, Revision, Status};
use skiff_request::Answer;
use skiff_store::{Entry, Expect};

pub(crate) const ORPHAN: &str = "orphan";
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Orphan,
    Foreground,
    Background,
}

/// DeleteOptions, from the body or from the query.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    grace: Option<i64>,
    policy: Option<Policy>,
    /// `orphanDependents: false` was said, which is answered by 202.
    accepted: bool,
    uid: Option<String>,
    revision: Option<String>,
    pub dry_run: bool,
    /// Admission was asked already, about what brings the deletion about (an eviction).
    pub admitted: bool,
}

impl DeleteOptions {
    pub fn of(ctx: &Context<'_>) -> Result<Self, Status> {
        // Options in the body are all there are: the query's are not looked at.
        if !ctx.call.body.is_empty() {
            return Self::from_body(ctx);
        }
        Ok(Self { dry_run: WriteOptions::of(ctx.call)?.dry_run, ..Self::from_query(ctx)? })
    }
    fn from_query(ctx: &Context<'_>) -> Result<Self, Status> {
        let q = &ctx.call.query;
        let mut v = json!({});
        if let Some(g) = q.get("gracePeriodSeconds") {
            let n: i64 = skiff_meta::go::parse_int(g).map_err(Status::bad_request)?;
            v["gracePeriodSeconds"] = n.into();
        }
        if let Some(p) = q.get("propagationPolicy") {
            v["propagationPolicy"] = p.into();
        }
        if q.get("orphanDependents").is_some() {
            v["orphanDependents"] = q.flag("orphanDependents").into();
        }
        Self::read(&v)
    }
    fn from_body(ctx: &Context<'_>) -> Result<Self, Status> {
        Self::read(&super::decode::options(ctx, "DeleteOptions")?)
    }
    pub fn read(v: &Value) -> Result<Self, Status> {
        let invalid = |field: &str, reason: &str, message: String| {
            Status::invalid("meta.k8s.io", "DeleteOptions", "", vec![Cause { reason: reason.into(), message, field: field.into() }])
        };
        let orphan = value::at(v, "orphanDependents").and_then(Value::as_bool);
        let named = value::text(v, "propagationPolicy");
        if orphan.is_some() && !named.is_empty() {
            return Err(invalid(
                "propagationPolicy",
                "FieldValueInvalid",
                format!("Invalid value: {named:?}: orphanDependents and deletionPropagation cannot be both set"),
            ));
        }
        let policy = match named {
            "" => orphan.map(|o| if o { Policy::Orphan } else { Policy::Background }),
            "Orphan" => Some(Policy::Orphan),
            "Foreground" => Some(Policy::Foreground),
            "Background" => Some(Policy::Background),
            _ => {
                return Err(invalid(
                    "propagationPolicy",
                    "FieldValueNotSupported",
                    format!("Unsupported value: {named:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""),
                ));
            }
        };
        if let Some(d) = value::list(v, "dryRun").iter().find(|d| **d != "All") {
            return Err(invalid("dryRun", "FieldValueNotSupported", format!("Unsupported value: {d}: supported values: \"All\"")));
        }
        let text = |path| value::at(v, path).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            grace: value::at(v, "gracePeriodSeconds").and_then(Value::as_i64),
            policy,
            accepted: orphan == Some(false),
            uid: text("preconditions.uid"),
            revision: text("preconditions.resourceVersion"),
            dry_run: !value::list(v, "dryRun").is_empty(),
            admitted: false,
        })
    }

    /// The preconditions against the object as it is.
    pub fn check_entry(&self, ctx: &Context<'_>, entry: &Entry) -> Result<(), Status> {
        self.check(ctx, entry, entry.name())
    }
    /// Only this state of the object: the one that was looked at, or what the caller has made of it.
    pub fn only_at(&mut self, revision: Revision) {
        self.revision = Some(revision.to_string());
    }
    pub fn names_revision(&self) -> bool {
        self.revision.is_some()
    }

    /// As admission sees them.
    fn given(&self) -> Value {
        let mut v = json!({});
        if let Some(g) = self.grace {
            v["gracePeriodSeconds"] = g.into();
        }
        if let Some(p) = self.policy {
            v["propagationPolicy"] = format!("{p:?}").into();
        }
        if self.dry_run {
            v["dryRun"] = json!(["All"]);
        }
        v
    }

    /// Kinds that are marked before they are deleted look themselves, and say it in their own words.
    fn check_marked_first(&self, ctx: &Context<'_>, entry: &Entry, name: &str) -> Result<(), Status> {
        let conflict = |what: &str, wanted: &str, is: &str| {
            Err(Status::conflict(
                &ctx.row.group_resource(),
                name,
                &format!(
                    "{} failed: {what} in precondition: {wanted}, {what} in object meta: {is}",
                    if &*ctx.row.storage == "namespaces" { "Precondition" } else { "precondition" }
                ),
            ))
        };
        if let Some(uid) = self.uid.as_deref().filter(|u| *u != entry.row.uid.as_str()) {
            return conflict("UID", uid, entry.row.uid.as_str());
        }
        if let Some(rv) = self.revision.as_deref().filter(|r| *r != entry.revision.to_string()) {
            return conflict("ResourceVersion", rv, &entry.revision.to_string());
        }
        Ok(())
    }

    fn check(&self, ctx: &Context<'_>, entry: &Entry, name: &str) -> Result<(), Status> {
        if ctx.row.strategy.prepare_delete.is_some() || &*ctx.row.storage == "namespaces" {
            return self.check_marked_first(ctx, entry, name);
        }
        // Named by the kind, unlike all other conflicts.
        let kind = GroupResource { group: ctx.row.working(ctx.version()).group, resource: ctx.row.kind.clone() };
        let conflict = |why: String| Err(Status::conflict(&kind, name, &why));
        if let Some(uid) = self.uid.as_deref().filter(|u| *u != entry.row.uid.as_str()) {
            return conflict(format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                entry.row.uid
            ));
        }
        if let Some(rv) = self.revision.as_deref().filter(|r| *r != entry.revision.to_string()) {
            return conflict(format!(
                "the ResourceVersion in the precondition ({rv}) does not match the ResourceVersion in record ({}). The object might have been modified",
                entry.revision
            ));
        }
        Ok(())
    }
}

/// What a deletion makes of an object.
enum Fate {
    /// It goes at once.
    Gone,
    /// It is marked, and waits for finalizers or for its grace to end.
    Marked(Value),
    /// It was marked before, and nothing changes.
    Waiting,
}

impl Registry {
    pub(crate) async fn delete(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let options = DeleteOptions::of(ctx)?;
        self.delete_named(ctx, ctx.name(), ctx.namespace(), &options).await
    }

    pub(crate) async fn delete_named(&self, ctx: &Context<'_>, name: &str, namespace: &str, options: &DeleteOptions) -> Result<Answer, Status> {
        let orphans = options.policy.is_none() && !options.accepted && &*ctx.row.plural == "jobs" && ctx.row.strategy.orphans_by_default;
        let told: Vec<String> = orphans.then(|| PODS_STAY.to_owned()).into_iter().collect();
        match self.delete_found(ctx, name, namespace, options).await {
            Ok(answer) => Ok(answer.warned(told)),
            Err(refusal) => Err(refusal.warned(&told)),
        }
    }

    async fn delete_found(&self, ctx: &Context<'_>, name: &str, namespace: &str, options: &DeleteOptions) -> Result<Answer, Status> {
        for race in 0.. {
            let key = ctx.row.key(namespace, name);
            let entry = self.store.get(&key).ok_or_else(|| Status::not_found(&ctx.row.group_resource(), name))?;
            options.check(ctx, &entry, name)?;
            match self.delete_entry(ctx, &entry, options).await {
                Err(s) if s.is(Reason::Conflict) && race < RACES && options.revision.is_none() => {}
                answer => return answer,
            }
        }
        Err(Status::internal("a deletion lost every race"))
    }

    async fn delete_entry(&self, ctx: &Context<'_>, entry: &Entry, options: &DeleteOptions) -> Result<Answer, Status> {
        let old = opened(ctx.row, ctx.version(), entry).await?;
        let warnings = if options.admitted { Vec::new() } else { self.admit_deletion(ctx, &options.given(), &old, options.dry_run).await? };
        let fate = fate(ctx, &old, options, &self.now().to_string());
        let (code, bytes, revision) = match fate {
            Fate::Waiting => (200, entry.bytes.clone(), entry.revision),
            Fate::Marked(mut v) => {
                ctx.row.shape.canonical(&ctx.row.working(ctx.version()).kind(ctx.row.kind.clone()), &mut v);
                let body = body::encode(&sealed(ctx.row, ctx.version(), v).await?);
                if options.dry_run {
                    (200, body.stamped(entry.revision), entry.revision)
                } else {
                    let e = self.commit(ctx, &entry.key, Expect::At(entry.revision), Some(body)).await?;
                    (if options.accepted { 202 } else { 200 }, e.bytes, e.revision)
                }
            }
            Fate::Gone => return self.remove(ctx, entry, &old, options, warnings).await,
        };
        let bytes = view(ctx.row, ctx.version(), &bytes, revision).await?;
        Ok(Answer::Object { code, kind: ctx.row.gvk(ctx.version()), bytes, warnings })
    }

    /// Kinds with grace are marked first, even where there is none: who watches sees the mark before the end.
    async fn marked(&self, ctx: &Context<'_>, entry: &Entry, old: &Value) -> Result<Revision, Status> {
        if ctx.row.strategy.grace.is_none() || value::at(old, "metadata.deletionTimestamp").is_some() {
            return Ok(entry.revision);
        }
        let mut v = old.clone();
        mark(&mut v, &self.now().to_string(), 0);
        count_deletion(ctx, &mut v);
        ctx.row.shape.canonical(&ctx.row.working(ctx.version()).kind(ctx.row.kind.clone()), &mut v);
        let body = body::encode(&sealed(ctx.row, ctx.version(), v).await?);
        Ok(self.commit(ctx, &entry.key, Expect::At(entry.revision), Some(body)).await?.revision)
    }

    async fn remove(&self, ctx: &Context<'_>, entry: &Entry, old: &Value, options: &DeleteOptions, warnings: Vec<String>) -> Result<Answer, Status> {
        let revision: Revision = if options.dry_run {
            entry.revision
        } else {
            let marked = self.marked(ctx, entry, old).await?;
            let gone = self.commit(ctx, &entry.key, Expect::At(marked), None).await?;
            self.record_addresses(ctx, Some(old), None).await;
            self.release(ctx, old);
            gone.revision
        };
        if !ctx.row.strategy.answers_object {
            return Ok(Answer::Status(Status::deleted(&ctx.row.group_resource(), entry.name(), entry.row.uid.as_str()), warnings));
        }
        let mut last = old.clone();
        if ctx.row.strategy.grace.is_some() {
            if value::at(old, "metadata.deletionTimestamp").is_none() {
                count_deletion(ctx, &mut last);
            }
            value::set(&mut last, "metadata.deletionTimestamp", self.now().to_string());
            value::set(&mut last, "metadata.deletionGracePeriodSeconds", 0);
        }
        let bytes = body::encode(&sealed(ctx.row, ctx.version(), last).await?).stamped(revision);
        let bytes = view(ctx.row, ctx.version(), &bytes, revision).await?;
        Ok(Answer::Object { code: 200, kind: ctx.row.gvk(ctx.version()), bytes, warnings })
    }
}

/// Decides; `now` is RFC 3339.
fn fate(ctx: &Context<'_>, old: &Value, options: &DeleteOptions, now: &str) -> Fate {
    let deleting = value::at(old, "metadata.deletionTimestamp").is_some();
    let prepared = ctx.row.strategy.prepare_delete.filter(|_| !deleting).map(|f| f(old, now));
    let mut v = prepared.unwrap_or_else(|| old.clone());
    let finalizers = finalizers(&v, options.policy.or(default_policy(ctx, &v)));
    match &finalizers[..] {
        [] => {
            value::remove(&mut v, "metadata.finalizers");
        }
        some => value::set(&mut v, "metadata.finalizers", some.to_vec()),
    }
    let grace = ctx.row.strategy.grace.map_or(0, |f| f(old, options.grace));
    let namespace = &*ctx.row.storage == "namespaces";
    if namespace {
        if !deleting {
            mark(&mut v, now, 0);
            value::remove(&mut v, "metadata.deletionGracePeriodSeconds");
        }
        value::set(&mut v, "status.phase", "Terminating");
        let held = !finalizers.is_empty() || !crate::strategy::namespace::finalized(old);
        return if !held {
            Fate::Gone
        } else if deleting {
            Fate::Waiting
        } else {
            Fate::Marked(v)
        };
    }
    if deleting {
        // Grace can only be shortened.
        let left = value::int(old, "metadata.deletionGracePeriodSeconds");
        let shorter = ctx.row.strategy.grace.is_some() && grace < left;
        if shorter {
            mark_shorter(&mut v, old, grace, left);
        }
        // A definition is marked in two steps: the second deletion says that there is no grace.
        let unsaid = ctx.row.strategy.prepare_delete.is_some() && value::at(old, "metadata.deletionGracePeriodSeconds").is_none();
        if unsaid {
            value::set(&mut v, "metadata.deletionGracePeriodSeconds", 0);
        }
        let waits = !finalizers.is_empty() || (!shorter && left > 0) || grace > 0 && left > 0;
        return match (waits, shorter || unsaid || finalizers_changed(old, &finalizers)) {
            (false, _) => Fate::Gone,
            (true, true) => Fate::Marked(v),
            (true, false) => Fate::Waiting,
        };
    }
    if finalizers.is_empty() && grace == 0 {
        return Fate::Gone;
    }
    mark(&mut v, now, grace);
    // Definitions go a way of their own upstream.
    if ctx.row.strategy.prepare_delete.is_some() {
        value::remove(&mut v, "metadata.deletionGracePeriodSeconds");
    } else {
        count_deletion(ctx, &mut v);
    }
    Fate::Marked(v)
}

/// The mark of deletion is a change of what is desired.
fn count_deletion(ctx: &Context<'_>, v: &mut Value) {
    let generation = value::int(v, "metadata.generation");
    if ctx.row.strategy.generation.is_some() && generation > 0 {
        value::set(v, "metadata.generation", generation + 1);
    }
}

/// What becomes of dependents when nobody says: those that the finalizers do not settle either.
fn default_policy(ctx: &Context<'_>, v: &Value) -> Option<Policy> {
    let settled = value::list(v, "metadata.finalizers").iter().any(|f| f == ORPHAN || f == FOREGROUND);
    (ctx.row.strategy.orphans_by_default && !settled).then_some(Policy::Orphan)
}

/// A Job that goes without a word about its pods leaves them behind.
const PODS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

fn finalizers_changed(old: &Value, new: &[Value]) -> bool {
    value::list(old, "metadata.finalizers") != new
}

/// The time of deletion is when the grace ends.
fn mark(v: &mut Value, now: &str, grace: i64) {
    value::set(v, "metadata.deletionTimestamp", later(now, grace));
    value::set(v, "metadata.deletionGracePeriodSeconds", grace);
}
fn mark_shorter(v: &mut Value, old: &Value, grace: i64, left: i64) {
    let end = value::text(old, "metadata.deletionTimestamp");
    value::set(v, "metadata.deletionTimestamp", later(end, grace - left));
    value::set(v, "metadata.deletionGracePeriodSeconds", grace);
}
fn later(time: &str, seconds: i64) -> String {
    match time.parse::<skiff_meta::Timestamp>() {
        Ok(t) => skiff_meta::Timestamp(t.0 + seconds).to_string(),
        Err(_) => time.to_owned(),
    }
}

/// The finalizers after the request's policy has put or taken the garbage collector's own.
fn finalizers(old: &Value, policy: Option<Policy>) -> Vec<Value> {
    let mut all = value::list(old, "metadata.finalizers").to_vec();
    let Some(policy) = policy else { return all };
    all.retain(|f| f != ORPHAN && f != FOREGROUND);
    match policy {
        Policy::Orphan => all.push(ORPHAN.into()),
        Policy::Foreground => all.push(FOREGROUND.into()),
        Policy::Background => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn options_are_read() {
        assert!(DeleteOptions::read(&json!({"propagationPolicy": "Foo"})).is_err());
        assert!(DeleteOptions::read(&json!({"propagationPolicy": "Orphan", "orphanDependents": true})).is_err());
        let o = DeleteOptions::read(&json!({"gracePeriodSeconds": 5, "preconditions": {"uid": "u"}})).unwrap();
        assert_eq!((o.grace, o.uid.as_deref()), (Some(5), Some("u")));
    }
    #[test]
    fn policies_put_and_take_finalizers() {
        let old = json!({"metadata": {"finalizers": ["a", "orphan"]}});
        assert_eq!(finalizers(&old, Some(Policy::Foreground)), [json!("a"), json!("foregroundDeletion")]);
        assert_eq!(finalizers(&old, Some(Policy::Background)), [json!("a")]);
        assert_eq!(finalizers(&old, None), [json!("a"), json!("orphan")]);
        assert_eq!(later("2026-01-01T00:00:00Z", 30), "2026-01-01T00:00:30Z");
    }
}
