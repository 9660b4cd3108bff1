//! Validating webhooks, all at once.
use super::{
    Failure, allows_dry_run, client,
    counts::Counts,
    hook::{Hook, Hooks},
    invocation,
    matching::{self, Invocation},
    refusal::refusal,
    review::Answer,
};
use crate::versions::{View, Views};
use async_trait::async_trait;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes, Authorizer};
use skiff_telemetry::metrics::Exposition;
use skiff_webhook::Client;
use std::{sync::Arc, time::Instant};

const RESOURCE: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

/// An answer, with the refusal that it comes to.
type Said = Result<(Answer, Option<Status>), Failure>;

pub struct ValidatingWebhooks {
    client: Arc<Client>,
    authorizer: Arc<dyn Authorizer>,
    hooks: Hooks,
    counts: Counts,
}

impl ValidatingWebhooks {
    pub fn new(client: Arc<Client>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { client, authorizer, hooks: Hooks::default(), counts: Counts::new("validating") }
    }

    async fn ask(&self, a: &Attributes<'_>, hook: &Hook, i: &Invocation, view: &View) -> Said {
        allows_dry_run(a, hook)?;
        let answer = client::ask(&self.client, a, hook, i, view, false).await.map_err(Failure::Call)?;
        match answer.allowed {
            true => Ok((answer, None)),
            false => {
                let refused = refusal(&hook.name, answer.status.as_ref());
                Ok((answer, Some(refused)))
            }
        }
    }

    async fn counted(&self, a: &Attributes<'_>, hook: &Hook, i: &Invocation, view: &View) -> Said {
        let begun = Instant::now();
        let said = self.ask(a, hook, i, view).await;
        let (refused, took) = (said.as_ref().ok().and_then(|(_, r)| r.clone()).map(Failure::Refused), begun.elapsed());
        self.counts.asked(a, hook, said.as_ref().err().or(refused.as_ref()), took);
        said
    }
}

#[async_trait]
impl Admission for ValidatingWebhooks {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }
    fn metrics(&self, out: &mut Exposition) {
        self.counts.expose(out);
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if matching::exempt(a) {
            return Ok(());
        }
        let hooks = self.hooks.of(a, RESOURCE);
        let (mut views, mut relevant) = (Views::default(), Vec::new());
        for hook in hooks.iter() {
            if let Some(i) = invocation(a, hook, &mut views, &*self.authorizer).await? {
                let view = views.of(a, &i.kind).await?;
                relevant.push((hook, i, view));
            }
        }
        let asked: &Attributes<'_> = a;
        let answers = futures::future::join_all(relevant.iter().map(|(hook, i, view)| self.counted(asked, hook, i, view))).await;
        let mut refused = None;
        for ((hook, ..), outcome) in relevant.iter().zip(answers) {
            let status = match outcome {
                Err(f) => f.verdict(hook),
                Ok((answer, refused)) => {
                    a.warnings.extend(answer.warnings);
                    a.audit.extend(answer.audit.into_iter().map(|(k, x)| (format!("{}/{k}", hook.name), x)));
                    refused
                }
            };
            refused = refused.or(status);
        }
        refused.map_or(Ok(()), Err)
    }
}
