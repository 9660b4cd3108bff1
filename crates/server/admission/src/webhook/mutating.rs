//! Mutating webhooks, one after the other.
use super::{
    Failure, allows_dry_run, client,
    counts::Counts,
    hook::{Hook, Hooks},
    invocation,
    matching::{self, Invocation},
    refusal::refusal,
};
use crate::{
    reinvocation::Round,
    value,
    versions::{self, View, Views},
};
use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::{GroupVersionKind, Status};
use skiff_policy::{Admission, Attributes, Authorizer};
use skiff_telemetry::metrics::Exposition;
use skiff_webhook::Client;
use std::{sync::Arc, time::Instant};

const NAME: &str = "MutatingAdmissionWebhook";
const RESOURCE: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";

pub struct MutatingWebhooks {
    client: Arc<Client>,
    authorizer: Arc<dyn Authorizer>,
    hooks: Hooks,
    counts: Counts,
}

impl MutatingWebhooks {
    pub fn new(client: Arc<Client>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { client, authorizer, hooks: Hooks::default(), counts: Counts::new("admit") }
    }

    async fn dispatch(&self, a: &mut Attributes<'_>, hooks: &[Arc<Hook>], round: &mut Round) -> Result<(), Status> {
        let mut views = Views::default();
        for hook in hooks {
            let Some(i) = invocation(a, hook, &mut views, &*self.authorizer).await? else { continue };
            if a.reinvocation.again && !round.is_due(&hook.id) {
                continue;
            }
            let view = views.of(a, &i.kind).await?;
            let begun = Instant::now();
            let outcome = self.ask(a, hook, &i, &view).await;
            self.counts.asked(a, hook, outcome.as_ref().err(), begun.elapsed());
            if matches!(outcome, Ok(true)) {
                views.forget();
                round.changed();
                a.reinvocation.wanted = true;
            }
            if hook.reinvoked {
                round.asked(&hook.id);
            }
            if let Some(status) = outcome.err().and_then(|f| f.verdict(hook)) {
                return Err(status);
            }
        }
        Ok(())
    }

    /// Gives whether the object changed.
    async fn ask(&self, a: &mut Attributes<'_>, hook: &Hook, i: &Invocation, view: &View) -> Result<bool, Failure> {
        allows_dry_run(a, hook)?;
        let answer = client::ask(&self.client, a, hook, i, view, true).await.map_err(Failure::Call)?;
        a.warnings.extend(answer.warnings);
        a.audit.extend(answer.audit.into_iter().map(|(k, x)| (format!("{}/{k}", hook.name), x)));
        if !answer.allowed {
            return Err(Failure::Refused(refusal(&hook.name, answer.status.as_ref())));
        }
        if answer.patch.is_empty() {
            return Ok(false);
        }
        if answer.patch_type != "JSONPatch" {
            return Err(Failure::Call(format!("unsupported patch type {:?}", answer.patch_type)));
        }
        let Some(object) = &view.object else {
            let why = format!("admission webhook {:?} attempted to modify the object, which is not supported for this operation", hook.name);
            return Err(Failure::Refused(Status::internal(why)));
        };
        let changed = skiff_patch::json_patch(object, &answer.patch).map_err(|e| match e {
            skiff_patch::PatchError::Malformed(why) => Failure::Call(format!("received undecodable patch in webhook response: {why}")),
            e => Failure::Refused(Status::internal(e)),
        })?;
        if let Some(why) = renamed(&i.kind, &changed) {
            return Err(Failure::Refused(Status::internal(why)));
        }
        versions::replace(a, &i.kind, changed).await.map_err(|s| Failure::Refused(Status::internal(s.message)))
    }
}

/// A patch may leave out what an object is, but not make another thing of it.
fn renamed(kind: &GroupVersionKind, v: &Value) -> Option<String> {
    let (version, name) = (value::text(v, "apiVersion"), value::text(v, "kind"));
    let same = |given: &str, own: &str| given.is_empty() || given == own;
    let own = kind.api_version();
    let version_or_own = if version.is_empty() { own.as_str() } else { version };
    let name_or_own = if name.is_empty() { &*kind.kind } else { name };
    (!same(version, &own) || !same(name, &kind.kind))
        .then(|| format!("no kind {name_or_own:?} is registered for version {version_or_own:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""))
}

#[async_trait]
impl Admission for MutatingWebhooks {
    fn name(&self) -> &'static str {
        NAME
    }
    fn metrics(&self, out: &mut Exposition) {
        self.counts.expose(out);
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if matching::exempt(a) {
            return Ok(());
        }
        let hooks = self.hooks.of(a, RESOURCE);
        if hooks.is_empty() {
            return Ok(());
        }
        let mut round = Round::begin(a, NAME);
        self.dispatch(a, &hooks, &mut round).await?;
        round.end(a, NAME);
        Ok(())
    }
}
