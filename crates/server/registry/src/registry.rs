//! The registry: a store, a table, and who is asked on the way.
use crate::{
    counts::Counts,
    read::{get, list, watch},
    table::{Resource, Table},
    write,
};
use bytes::Bytes;
use skiff_json::Value;
use skiff_meta::{FieldSelector, GroupVersionKind, GroupVersionResource, Status, Timestamp};
use skiff_policy::{Action, Admission, Authorizer, Decision, Lookup, Served};
use skiff_request::{Answer, Call, Notes, Query, Service, Target, User, Verb};
use skiff_store::{ListQuery, Store};
use skiff_telemetry::metrics::Exposition;
use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::{Instant, SystemTime},
};

/// What is handed in: policy, time and chance.
pub struct Options {
    pub authorizer: Arc<dyn Authorizer>,
    pub admission: Vec<Arc<dyn Admission>>,
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    pub random: Arc<dyn Fn() -> u32 + Send + Sync>,
    /// Who makes tokens and recognises them, for TokenRequest and TokenReview.
    pub tokens: Option<Arc<dyn crate::review::Tokens>>,
    /// Where Services get addresses and ports.
    pub services: write::services::Ranges,
}

pub struct Registry {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) table: Arc<Table>,
    pub(crate) options: Options,
    pub(crate) services: write::services::Allocator,
    pub(crate) counts: Counts,
    /// Who measures what nodes and pods use.
    pub(crate) usages: OnceLock<Arc<dyn crate::review::Usages>>,
}

/// A call with everything that was found out about it before the work starts.
pub(crate) struct Context<'a> {
    pub user: &'a Arc<User>,
    pub call: &'a Call,
    pub row: &'a Arc<Resource>,
}

impl Context<'_> {
    pub fn namespace(&self) -> &str {
        &self.call.target.namespace
    }
    pub fn name(&self) -> &str {
        &self.call.target.name
    }
    pub fn version(&self) -> &str {
        &self.call.target.resource.version
    }
}

impl Registry {
    /// `table` is the one that the store's [`crate::RowIndexer`] reads.
    pub fn new(store: Arc<dyn Store>, table: Arc<Table>, options: Options) -> Arc<Self> {
        let services = write::services::Allocator::new(options.services.clone(), &*store);
        let counts = Counts::new(options.admission.iter().map(|a| a.name()));
        Arc::new(Self { store, table, options, services, counts, usages: OnceLock::new() })
    }
    /// What was counted, for `/metrics`.
    pub fn metrics(&self, out: &mut Exposition) {
        self.counts.write(out);
        self.options.authorizer.metrics(out);
        self.options.admission.iter().for_each(|a| a.metrics(out));
        self.services.metrics(out);
    }
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
    pub fn authorizer(&self) -> &Arc<dyn Authorizer> {
        &self.options.authorizer
    }
    pub fn now(&self) -> Timestamp {
        Timestamp::from_system((self.options.now)())
    }
    pub fn system_time(&self) -> SystemTime {
        (self.options.now)()
    }
    /// A fresh random number.
    pub fn random(&self) -> u32 {
        (self.options.random)()
    }
    pub(crate) fn uid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    /// Refuses what the authoriser does not allow, in upstream's words.
    pub async fn authorize(&self, user: &User, verb: &str, target: &Target) -> Result<(), Status> {
        self.authorize_noted(user, verb, target, None).await
    }

    /// The same; the decision is noted.
    pub async fn authorize_noted(&self, user: &User, verb: &str, target: &Target, notes: Option<&Notes>) -> Result<(), Status> {
        self.allowed(user, verb, target, Action::resource(verb, target.clone()), notes).await
    }

    /// The same for a request whose selectors may narrow it.
    pub async fn authorize_narrowed(&self, user: &User, verb: &str, target: &Target, query: &Query, notes: Option<&Notes>) -> Result<(), Status> {
        let target = meant(verb, target, query);
        let action = Action::of(verb, target.clone().into_owned(), query.get("labelSelector"), query.get("fieldSelector"));
        self.allowed(user, verb, &target, action, notes).await
    }

    async fn allowed(&self, user: &User, verb: &str, target: &Target, action: Action, notes: Option<&Notes>) -> Result<(), Status> {
        match self.decide(user, &action, notes).await {
            Decision::Allow => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => Err(forbidden(user, verb, target, &why)),
        }
    }

    /// Asks the authoriser and notes what it decides.
    pub async fn decide(&self, user: &User, action: &Action, notes: Option<&Notes>) -> Decision {
        let (authorizer, begun) = (&self.options.authorizer, Instant::now());
        let decision = match notes {
            None => authorizer.authorize(user, action).await,
            Some(notes) => {
                let verdict = authorizer.verdict(user, action).await;
                notes.decided(verdict.decision == Decision::Allow, &verdict.reason);
                verdict.decision
            }
        };
        self.counts.decided(&decision, begun.elapsed());
        decision
    }

    async fn dispatch(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let target = &ctx.call.target;
        if let Some(computed) = ctx.row.computed {
            return self.computed(ctx, computed).await;
        }
        if !target.subresource.is_empty() {
            return self.subresource(ctx).await;
        }
        let verb = ctx.call.verb;
        let placed = match verb {
            Verb::Create => target.name.is_empty(),
            Verb::Update | Verb::Patch => !target.name.is_empty(),
            _ => true,
        };
        if !placed || !ctx.row.allows(verb.as_str()) {
            return Err(no_such_method(ctx));
        }
        match verb {
            Verb::Get => get::get(self, ctx).await,
            Verb::List => list::list(self, ctx).await,
            Verb::Watch => watch::watch(self, ctx).await,
            Verb::Create => self.create(ctx).await,
            Verb::Update => self.update(ctx, None).await,
            Verb::Patch => self.patch(ctx, None).await,
            Verb::Delete => self.delete(ctx).await,
            Verb::DeleteCollection => self.delete_collection(ctx).await,
        }
    }
}

fn forbidden(user: &User, verb: &str, target: &Target, why: &str) -> Status {
    let resource = match target.subresource.as_str() {
        "" => target.resource.resource.to_string(),
        sub => format!("{}/{sub}", target.resource.resource),
    };
    let scope = if target.namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace {:?}", target.namespace) };
    let mut text = format!("User {:?} cannot {verb} resource {resource:?} in API group {:?} {scope}", user.name, target.resource.group);
    if !why.is_empty() {
        text = format!("{text}: {why}");
    }
    Status { unauthorized: true, ..Status::forbidden(&target.group_resource(), &target.name, &text) }
}

#[async_trait::async_trait]
impl Service for Registry {
    async fn serve(&self, user: Arc<User>, call: Call) -> Result<Answer, Status> {
        let r = &call.target.resource;
        self.authorize_narrowed(&user, call.verb.as_str(), &call.target, &call.query, call.notes.as_deref()).await?;
        let row = self.table.at(&r.group, &r.resource, &r.version).filter(|row| in_scope(row, &call)).ok_or_else(no_such_resource)?;
        let ctx = Context { user: &user, call: &call, row: &row };
        match placed(&row, &call.target, call.verb) {
            Placed::Here => self.dispatch(&ctx).await,
            Placed::NoSuchPath => Err(no_such_resource()),
            Placed::NoSuchMethod => Err(no_such_method(&ctx)),
            // As the storage refuses a key that leads out of its place.
            Placed::BadKey => Err(Status::plain(
                500,
                format!("invalid key: {:?}", row.upstream_key(&call.target.namespace, &call.target.name).trim_start_matches("/registry").trim_end_matches('/')),
            )),
        }
    }
}

/// Whether there is such a path, and such a method at it.
#[derive(Debug, PartialEq, Eq)]
enum Placed {
    Here,
    NoSuchPath,
    NoSuchMethod,
    BadKey,
}

/// Objects that have a namespace are told of as a whole without one, and nothing else; what has none is in none.
fn placed(row: &Resource, target: &Target, verb: Verb) -> Placed {
    let own = row.group.is_empty() && row.plural == "namespaces";
    if row.custom.is_some() || own {
        return Placed::Here;
    }
    match (row.namespaced, target.namespace.as_str()) {
        (true, "") if !target.name.is_empty() || !row.allows("list") => Placed::NoSuchPath,
        (true, "") if !matches!(verb, Verb::List | Verb::Watch) => Placed::NoSuchMethod,
        (true, "." | "..") => Placed::BadKey,
        (true, _) | (false, "") => Placed::Here,
        (false, _) => Placed::NoSuchPath,
    }
}

/// Custom resources are not found by paths of the other scope.
fn in_scope(row: &Resource, call: &Call) -> bool {
    let (namespaced, everywhere) = (!call.target.namespace.is_empty(), matches!(call.verb, Verb::List | Verb::Watch));
    row.custom.is_none() || row.namespaced == namespaced || (row.namespaced && everywhere)
}

/// A list, watch or deletion that its field selector narrows to one name is authorised for that name.
fn meant<'a>(verb: &str, target: &'a Target, query: &Query) -> Cow<'a, Target> {
    let narrowed = matches!(verb, "list" | "watch" | "deletecollection") && target.name.is_empty();
    let selector = query.get("fieldSelector").filter(|_| narrowed).and_then(|s| FieldSelector::parse(s).ok());
    match selector.as_ref().and_then(|s| s.required("metadata.name")) {
        Some(name) if !name.is_empty() && !name.contains('/') => Cow::Owned(Target { name: name.to_owned(), ..target.clone() }),
        _ => Cow::Borrowed(target),
    }
}

/// What upstream answers about a method that a path has not.
pub(crate) fn no_such_method(ctx: &Context<'_>) -> Status {
    if ctx.row.custom.is_some() {
        return Status::method_not_allowed(&ctx.call.target.group_resource(), ctx.call.verb.as_str());
    }
    Status::generic(skiff_meta::Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}

/// What upstream answers about a path that no resource is at.
pub(crate) fn no_such_resource() -> Status {
    Status::generic(skiff_meta::Reason::NotFound, "the server could not find the requested resource")
}

/// The present state and the kinds of the table, as admission sees them.
#[async_trait::async_trait]
impl Lookup for Registry {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Bytes> {
        self.store.get(&format!("{resource}/{namespace}/{name}")).map(|e| e.bytes)
    }
    fn list(&self, resource: &str, namespace: &str) -> Vec<Bytes> {
        let prefix = if namespace.is_empty() { format!("{resource}/") } else { format!("{resource}/{namespace}/") };
        self.store.list(&ListQuery { prefix, ..Default::default() }).entries.into_iter().map(|e| e.bytes).collect()
    }
    fn kind(&self, target: &Target) -> Option<GroupVersionKind> {
        let r = &target.resource;
        self.table.get(&r.group, &r.resource)?.body_kind(&r.version, &target.subresource)
    }
    fn equivalents(&self, target: &Target) -> Vec<(GroupVersionResource, GroupVersionKind)> {
        let rows = self.table.rows();
        let Some(own) = rows.get(&target.resource.group, &target.resource.resource) else { return Vec::new() };
        let same = rows.all().filter(|row| row.storage == own.storage);
        let versions = same.flat_map(|row| row.versions.iter().map(move |v| (row, v)));
        let found = versions.filter_map(|(row, v)| {
            let resource = GroupVersionResource::new(row.group.clone(), v.clone(), row.plural.clone());
            Some((resource, row.body_kind(v, &target.subresource)?))
        });
        found.collect()
    }
    async fn convert(&self, target: &Target, v: Value, from: &GroupVersionKind, to: &GroupVersionKind) -> Result<Value, Status> {
        let row = self.table.get(&target.resource.group, &target.resource.resource);
        // The body of a subresource is a kind of its own, which has one version.
        let Some(row) = row.filter(|row| *row.kind == *from.kind) else { return Ok(v) };
        let mut all = crate::read::convert(&row, vec![v], &from.group_version(), &to.group_version()).await?;
        all.pop().ok_or_else(|| Status::internal("a conversion lost its object"))
    }
    fn served(&self, kind: &GroupVersionKind) -> Option<Served> {
        let rows = self.table.rows();
        let row = rows.of_group(&kind.group).find(|row| row.kind == *kind.kind && row.serves(&kind.version))?;
        let resource = GroupVersionResource::new(row.group.clone(), kind.version.clone(), row.plural.clone());
        Some(Served { resource, namespaced: row.namespaced, storage: row.storage.to_string(), stored: row.stored_gvk() })
    }
    fn merge(&self, target: &Target, kind: &GroupVersionKind, object: &Value, config: &Value) -> Result<Value, String> {
        let row = self.table.get(&target.resource.group, &target.resource.resource).ok_or_else(|| format!("{} is not served", target.resource))?;
        skiff_apply::overlay(object, config, row.shape.merging(kind))
    }
    fn complete(&self, target: &Target, v: Value, kind: &GroupVersionKind) -> Result<Value, Status> {
        let row = self.table.get(&target.resource.group, &target.resource.resource).filter(|row| *row.kind == *kind.kind);
        let shape = row.map_or_else(crate::shape::builtin, |row| row.shape.clone());
        let mut v = shape.decode_value(kind, v)?.value;
        skiff_meta::distrust(&mut v);
        v["apiVersion"] = kind.api_version().into();
        v["kind"] = kind.kind.as_ref().into();
        shape.default(kind, &mut v, &self.now().to_string());
        Ok(v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;
    #[test]
    fn what_has_a_namespace_is_changed_in_one() {
        let table = Table::builtin();
        for (group, version, plural, namespace, name, verb, want) in [
            ("", "v1", "configmaps", "", "", Verb::List, Placed::Here),
            ("", "v1", "configmaps", "", "", Verb::Watch, Placed::Here),
            ("", "v1", "configmaps", "", "", Verb::DeleteCollection, Placed::NoSuchMethod),
            ("", "v1", "configmaps", "", "", Verb::Create, Placed::NoSuchMethod),
            ("", "v1", "configmaps", "", "", Verb::Update, Placed::NoSuchMethod),
            ("", "v1", "configmaps", "", "", Verb::Patch, Placed::NoSuchMethod),
            ("", "v1", "configmaps", "", "x", Verb::Get, Placed::NoSuchPath),
            ("", "v1", "configmaps", "", "x", Verb::Delete, Placed::NoSuchPath),
            ("", "v1", "configmaps", "a", "", Verb::DeleteCollection, Placed::Here),
            ("", "v1", "configmaps", "..", "", Verb::List, Placed::BadKey),
            ("", "v1", "bindings", "", "", Verb::Create, Placed::NoSuchPath),
            ("authorization.k8s.io", "v1", "localsubjectaccessreviews", "", "", Verb::Create, Placed::NoSuchPath),
            ("authorization.k8s.io", "v1", "subjectaccessreviews", "", "", Verb::Create, Placed::Here),
            ("", "v1", "nodes", "a", "", Verb::List, Placed::NoSuchPath),
            ("", "v1", "nodes", "", "", Verb::DeleteCollection, Placed::Here),
            ("", "v1", "namespaces", "a", "a", Verb::Get, Placed::Here),
        ] {
            let row = table.at(group, plural, version).unwrap();
            let target = Target::new(GroupVersionResource::new(group, version, plural), namespace, name);
            assert_eq!(placed(&row, &target, verb), want, "{verb:?} {plural} in {namespace:?}, name {name:?}");
        }
    }
}
