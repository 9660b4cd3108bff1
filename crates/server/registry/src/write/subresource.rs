//! Subresources: status and its like write a part of the object, the rest are small protocols of their own.
use super::{decode, options::WriteOptions, persist::Change, update::stored};
use crate::{
    read::get,
    registry::{Context, Registry, no_such_method, no_such_resource},
    table::Role,
    value,
};
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionKind, Reason, Status};
use skiff_request::{Answer, Call, Verb};
use skiff_store::Entry;
use std::borrow::Cow;

impl Registry {
    pub(crate) async fn subresource(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let target = &ctx.call.target;
        // Of a custom resource, one that its version does not have is told as the object's absence.
        let absent = || if ctx.row.custom.is_some() { Status::not_found(&ctx.row.group_resource(), ctx.name()) } else { no_such_resource() };
        let sub = ctx.row.subresource(&target.subresource).ok_or_else(absent)?;
        if !sub.verbs.contains(&ctx.call.verb.as_str()) || sub.role == Role::Connect {
            return Err(no_such_method(ctx));
        }
        match (sub.role, ctx.call.verb) {
            (Role::Binding, _) => self.bind(ctx).await,
            (Role::Eviction, _) => self.evict(ctx).await,
            (Role::Token, _) => self.token_request(ctx).await,
            (Role::Scale, verb) => self.scale(ctx, verb).await,
            (_, Verb::Get) => get::get(self, ctx).await,
            (role, Verb::Patch) => self.patch(ctx, Some(role)).await,
            (role, _) => self.update(ctx, Some(role)).await,
        }
    }

    pub(super) fn entry(&self, ctx: &Context<'_>) -> Result<Entry, Status> {
        self.store.get(&ctx.row.key(ctx.namespace(), ctx.name())).ok_or_else(|| Status::not_found(&ctx.row.group_resource(), ctx.name()))
    }

    /// The scheduler's verdict: sets the node once.
    pub(crate) async fn bind(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let options = WriteOptions::of(ctx.call)?;
        let body = GroupVersionKind::new("", "v1", "Binding");
        let mut binding = decode::other(ctx, &body)?;
        if value::text(&binding, "metadata.name") != ctx.name() {
            return Err(Status::bad_request("name in URL does not match name in Binding object"));
        }
        if let Some(wrong) = unbindable(&binding) {
            return Err(Status::plain(500, wrong));
        }
        let warnings = self.admit_body(ctx, body, &mut binding, None, options.dry_run).await?;
        let node = value::text(&binding, "target.name").to_owned();
        let entry = self.entry(ctx)?;
        let old = stored(&entry)?;
        let conflict = |why: String| Err(Status::conflict(&skiff_meta::GroupResource::new("", "pods/binding"), ctx.name(), &why));
        let uid = value::text(&binding, "metadata.uid");
        if !uid.is_empty() && uid != entry.row.uid.as_str() {
            let (key, held) = (ctx.row.upstream_key(ctx.namespace(), ctx.name()), &entry.row.uid);
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {held}"
            );
            return Err(Status::conflict(&ctx.row.group_resource(), ctx.name(), &why));
        }
        let held = value::text(&binding, "metadata.resourceVersion");
        if !held.is_empty() && held != entry.revision.to_string() {
            let (key, now) = (ctx.row.upstream_key(ctx.namespace(), ctx.name()), entry.revision);
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: ResourceVersion in precondition: {held}, ResourceVersion in object meta: {now}"
            );
            return Err(Status::conflict(&ctx.row.group_resource(), ctx.name(), &why));
        }
        if entry.row.deleting {
            return conflict(format!("pod {} is being deleted, cannot be assigned to a host", ctx.name()));
        }
        let assigned = value::text(&old, "spec.nodeName");
        if !assigned.is_empty() {
            return conflict(format!("pod {} is already assigned to node {assigned:?}", ctx.name()));
        }
        if !value::list(&old, "spec.schedulingGates").is_empty() {
            return conflict(format!("pod {} has non-empty .spec.schedulingGates", ctx.name()));
        }
        let mut v = old.clone();
        value::set(&mut v, "spec.nodeName", node);
        for path in ["metadata.annotations", "metadata.labels"] {
            for (k, x) in value::map(&binding, path).into_iter().flatten() {
                if let Some(to) = value::map_mut(&mut v, path) {
                    to.insert(k.clone(), x.clone());
                }
            }
        }
        // What was promised is given.
        value::remove(&mut v, "status.nominatedNodeName");
        scheduled(&mut v, &self.now().to_string());
        self.persist(ctx, &options, v, Change { old: Some((entry, old)), role: Some(Role::Binding), warnings: Vec::new(), code: 201 }).await?;
        Ok(Answer::Status(Status { code: 201, ..success() }, warnings))
    }

    /// Deletes a pod if the disruption budgets that cover it allow one less.
    async fn evict(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let body = GroupVersionKind::new("policy", "v1", "Eviction");
        let call = of_today(ctx.call);
        let mut eviction = decode::other(&Context { user: ctx.user, call: &call, row: ctx.row }, &body)?;
        let warnings = self.admit_body(ctx, body, &mut eviction, None, WriteOptions::of(ctx.call)?.dry_run).await?;
        let name = value::text(&eviction, "metadata.name");
        if !name.is_empty() && name != ctx.name() {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut options = super::delete::DeleteOptions::read(eviction.get("deleteOptions").unwrap_or(&json!({})))?;
        let dry_run = options.dry_run || WriteOptions::of(ctx.call)?.dry_run;
        options.dry_run = dry_run;
        options.admitted = true;
        super::eviction::evict(self, ctx, &mut options).await?;
        Ok(Answer::Status(Status { code: 201, ..success() }, warnings))
    }

    async fn token_request(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let kind = GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest");
        let mut request = decode::other(ctx, &kind)?;
        self.entry(ctx)?;
        let options = WriteOptions::of(ctx.call)?;
        let warnings = self.admit_body(ctx, kind.clone(), &mut request, None, options.dry_run).await?;
        // A time that is not named is the default, and whoever asks owns that, too.
        if value::at(&request, "spec.expirationSeconds").is_none_or(Value::is_null) {
            value::set(&mut request, "spec.expirationSeconds", TOKEN_SECONDS);
        }
        self.track_body(ctx, &options, &kind, &mut request);
        let tokens = self.options.tokens.as_ref().ok_or_else(|| Status::new(Reason::NotFound, "this server issues no tokens"))?;
        let mut granted = tokens.issue(ctx.namespace(), ctx.name(), request)?;
        // Behind what else the metadata tells, as everywhere.
        if let Some(owned) = granted.pointer("/metadata/managedFields").cloned() {
            value::remove(&mut granted, "metadata.managedFields");
            value::set(&mut granted, "metadata.managedFields", owned);
        }
        let bytes = skiff_json::to_vec(&granted).map_err(Status::internal)?;
        Ok(Answer::Object { code: 201, kind, bytes: bytes.into(), warnings })
    }

    async fn scale(&self, ctx: &Context<'_>, verb: Verb) -> Result<Answer, Status> {
        super::scale::scale(self, ctx, verb).await
    }
}

/// How long a token holds when nobody says.
const TOKEN_SECONDS: i64 = 3600;

/// A call whose body is an Eviction of the group's first version, which says the same as today's, as today's.
fn of_today(call: &Call) -> Cow<'_, Call> {
    if skiff_codec::is_protobuf(&call.body) {
        return match skiff_codec::retyped_protobuf(&call.body, "policy/v1beta1", "policy/v1") {
            Some(body) => Cow::Owned(call.clone().body(body)),
            None => Cow::Borrowed(call),
        };
    }
    let v = skiff_json::from_slice::<Value>(&call.body).ok().filter(|v| v["apiVersion"] == "policy/v1beta1" && v["kind"] == "Eviction");
    let Some(mut v) = v else { return Cow::Borrowed(call) };
    v["apiVersion"] = "policy/v1".into();
    Cow::Owned(call.clone().body(v.to_string()))
}

/// What is wrong with where a pod shall go, in the words of an error without a reason.
fn unbindable(binding: &Value) -> Option<String> {
    let (kind, node) = (value::text(binding, "target.kind"), value::text(binding, "target.name"));
    let mut wrong = Vec::new();
    if !matches!(kind, "" | "Node") {
        wrong.push(format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""));
    }
    if node.is_empty() {
        wrong.push("target.name: Required value".to_owned());
    } else if matches!(kind, "" | "Node") {
        let bad = skiff_meta::is_dns1123_subdomain(node).err().into_iter().flatten();
        wrong.extend(bad.map(|why| format!("target.name: Invalid value: {node:?}: {}", why.0)));
    }
    match wrong.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => Some(format!("[{}]", wrong.join(", "))),
    }
}

fn scheduled(v: &mut Value, now: &str) {
    let mut all = value::list(v, "status.conditions").to_vec();
    all.retain(|c| c["type"] != "PodScheduled");
    all.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}));
    value::set(v, "status.conditions", all);
}

fn success() -> Status {
    Status {
        success: true,
        message: String::new(),
        reason: Reason::Unknown,
        code: 200,
        details: None,
        continue_token: None,
        foreign_reason: None,
        warnings: Vec::new(),
        unauthorized: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn evictions_of_old_are_evictions() {
        let target = skiff_request::Target::new(skiff_meta::GroupVersionResource::new("", "v1", "pods"), "a", "p").sub("eviction");
        for (api, kind, want) in
            [("policy/v1beta1", "Eviction", "policy/v1"), ("policy/v1", "Eviction", "policy/v1"), ("policy/v1beta1", "Pod", "policy/v1beta1")]
        {
            let call = Call::new(Verb::Create, target.clone()).body(json!({"apiVersion": api, "kind": kind}).to_string());
            let v: Value = skiff_json::from_slice(&of_today(&call).body).unwrap();
            assert_eq!(v["apiVersion"], want, "{api} {kind}");
        }
        let call = Call::new(Verb::Create, target).body(&b"k8s\0\x0a\x1a\x0a\x0epolicy/v1beta1\x12\x08Eviction"[..]);
        assert_eq!(&of_today(&call).body[..], b"k8s\0\x0a\x15\x0a\x09policy/v1\x12\x08Eviction");
    }
    #[test]
    fn pods_go_to_nodes() {
        let kind = "target.kind: Unsupported value: \"Foo\": supported values: \"Node\", \"<empty>\"";
        for (kind, name, want) in [
            ("", "n", None),
            ("Node", "n", None),
            ("Foo", "n", Some(kind.to_owned())),
            ("Node", "N_1", Some(format!("target.name: Invalid value: \"N_1\": {}", skiff_meta::is_dns1123_subdomain("N_1").unwrap_err()[0].0))),
            ("Node", "", Some("target.name: Required value".to_owned())),
            ("Foo", "", Some(format!("[{kind}, target.name: Required value]"))),
        ] {
            assert_eq!(unbindable(&json!({"target": {"kind": kind, "name": name}})), want, "{kind:?} {name:?}");
        }
    }
}
