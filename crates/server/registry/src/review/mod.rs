//! Resources that are computed, never stored: reviews of identities and of access, the old binding, component statuses.
mod access;
mod usage;

pub use usage::{Amounts, Usage, Usages};

use crate::{
    registry::{Context, Registry},
    table::Computed,
    value,
    write::WriteOptions,
};
use skiff_json::{Value, json};
use skiff_meta::{Reason, Status};
use skiff_request::{Answer, ListAnswer, User, Verb};

/// Issues and recognises service-account tokens; `skiff-auth` has the keys.
#[async_trait::async_trait]
pub trait Tokens: Send + Sync + 'static {
    /// Fills the status of a TokenRequest for a service account that exists.
    fn issue(&self, namespace: &str, name: &str, request: Value) -> Result<Value, Status>;
    /// Who holds the token, for one of the audiences (none: the server's own): the user and the audiences that fit.
    async fn review(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), String>;
}

impl Registry {
    pub(crate) async fn computed(&self, ctx: &Context<'_>, what: Computed) -> Result<Answer, Status> {
        let verb = ctx.call.verb;
        if !ctx.row.allows(verb.as_str()) || !ctx.call.target.subresource.is_empty() {
            return Err(Status::method_not_allowed(&ctx.row.group_resource(), verb.as_str()));
        }
        match what {
            Computed::ComponentStatus => self.components(ctx),
            Computed::Usage => self.usage(ctx).await,
            Computed::Binding => self.old_binding(ctx).await,
            _ => self.review(ctx, what).await,
        }
    }

    async fn review(&self, ctx: &Context<'_>, what: Computed) -> Result<Answer, Status> {
        let options = WriteOptions::of(ctx.call)?;
        let kind = ctx.row.gvk(ctx.version());
        let mut v = ctx.row.shape.decode(&kind, &ctx.call.content_type, &ctx.call.body)?.value;
        v["kind"] = kind.kind.as_ref().into();
        v["apiVersion"] = kind.api_version().into();
        let local = (what == Computed::LocalSubjectAccessReview).then(|| ctx.namespace());
        if matches!(what, Computed::SubjectAccessReview | Computed::SelfSubjectAccessReview | Computed::LocalSubjectAccessReview) {
            let wrong = access::wrong(&v, what == Computed::SelfSubjectAccessReview, local);
            if !wrong.is_empty() {
                return Err(Status::invalid("authorization.k8s.io", &kind.kind, "", wrong));
            }
        }
        // What is answered is what was sent, and so are its fields' owners; the others make an answer of their own.
        if !matches!(what, Computed::SelfSubjectReview | Computed::SelfSubjectRulesReview) {
            self.track_body(ctx, &options, &kind, &mut v);
        }
        let status = match what {
            Computed::TokenReview if value::text(&v, "spec.token").is_empty() => {
                return Err(Status::bad_request("token is required for TokenReview in authentication"));
            }
            Computed::TokenReview => self.token_review(&v).await,
            Computed::SelfSubjectReview => json!({"userInfo": user_info(ctx.user)}),
            Computed::SelfSubjectRulesReview => self.rules_review(ctx, &v).await?,
            Computed::SelfSubjectAccessReview => self.access(ctx.user, &v).await,
            _ => self.access(&subject(&v), &v).await,
        };
        if v.get("metadata").is_none() {
            v["metadata"] = json!({});
        }
        if what == Computed::SelfSubjectReview {
            v["metadata"]["creationTimestamp"] = self.now().to_string().into();
        }
        // The question is not repeated.
        if what == Computed::SelfSubjectRulesReview {
            v["spec"] = json!({});
        }
        v["status"] = status;
        ctx.row.shape.canonical(&kind, &mut v);
        Ok(Answer::Object { code: 201, kind, bytes: v.to_string().into(), warnings: Vec::new() })
    }

    async fn access(&self, user: &User, v: &Value) -> Value {
        let (action, errors) = access::question(v);
        access::answer(self.options.authorizer.verdict(user, &action).await, errors)
    }

    async fn rules_review(&self, ctx: &Context<'_>, v: &Value) -> Result<Value, Status> {
        let namespace = value::text(v, "spec.namespace");
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let (resources, paths) = self.options.authorizer.rules(ctx.user, namespace).await;
        let untold = self.options.authorizer.untold(ctx.user);
        let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": untold.is_some()});
        if let Some(why) = untold {
            status["evaluationError"] = why.into();
        }
        Ok(status)
    }

    async fn token_review(&self, v: &Value) -> Value {
        let audiences: Vec<String> = value::list(v, "spec.audiences").iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        let Some(tokens) = &self.options.tokens else { return json!({"user": {}, "error": "no token authenticator"}) };
        match tokens.review(value::text(v, "spec.token"), &audiences).await {
            Ok((user, audiences)) => json!({"authenticated": true, "user": user_info(&user), "audiences": audiences}),
            Err(why) => json!({"user": {}, "error": why}),
        }
    }

    /// `POST namespaces/x/bindings` is `pods/NAME/binding`.
    async fn old_binding(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let body: Value = ctx.row.shape.decode(&ctx.row.gvk("v1"), &ctx.call.content_type, &ctx.call.body)?.value;
        let row = self.table.get("", "pods").ok_or_else(crate::registry::no_such_resource)?;
        let mut call = ctx.call.clone();
        call.target.resource.resource = "pods".into();
        call.target.name = value::text(&body, "metadata.name").to_owned();
        call.target.subresource = "binding".into();
        self.bind(&Context { user: ctx.user, call: &call, row: &row }).await
    }

    /// What of the control plane answers. All parts are in this process, so that answering is the proof.
    fn components(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let item = |name: &str| {
            let v = json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]});
            bytes::Bytes::from(v.to_string())
        };
        let names = ["controller-manager", "scheduler", "etcd-0"];
        let kind = ctx.row.gvk("v1");
        match ctx.call.verb {
            Verb::Get if names.contains(&ctx.name()) => Ok(Answer::Object { code: 200, kind, bytes: item(ctx.name()), warnings: Vec::new() }),
            Verb::Get => Err(Status::new(Reason::NotFound, format!("Component not found: {}", ctx.name()))),
            _ => {
                let items = names.iter().map(|n| item(n)).collect();
                Ok(Answer::List(ListAnswer {
                    kind,
                    items,
                    revision: skiff_meta::Revision::ZERO,
                    continue_token: String::new(),
                    remaining: None,
                    warnings: Vec::new(),
                }))
            }
        }
    }
}

fn subject(v: &Value) -> User {
    let texts = |x: &Value| x.as_array().into_iter().flatten().filter_map(|g| g.as_str().map(str::to_owned)).collect::<Vec<_>>();
    User {
        name: value::text(v, "spec.user").into(),
        uid: value::text(v, "spec.uid").into(),
        groups: texts(&v["spec"]["groups"]),
        extra: value::map(v, "spec.extra").into_iter().flatten().map(|(k, x)| (k.to_lowercase(), texts(x))).collect(),
    }
}

/// `authentication.k8s.io` UserInfo.
pub(crate) fn user_info(user: &User) -> Value {
    let mut v = json!({"username": user.name});
    if !user.uid.is_empty() {
        v["uid"] = user.uid.clone().into();
    }
    if !user.groups.is_empty() {
        v["groups"] = user.groups.clone().into();
    }
    if !user.extra.is_empty() {
        v["extra"] = json!(user.extra);
    }
    v
}
