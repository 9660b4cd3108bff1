//! Validating webhooks, all at once.
use super::{Failure, allows_dry_run, client, hook::{Hook, Hooks}, invocation, matching::{self, Invocation}, refusal::refusal, review::Answer};
use crate::versions::{View, Views};
use async_trait::async_trait;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes, Authorizer};
use skiff_webhook::Client;
use std::sync::Arc;

const RESOURCE: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

pub struct ValidatingWebhooks {
    client: Arc<Client>,
    authorizer: Arc<dyn Authorizer>,
    hooks: Hooks,
}

impl ValidatingWebhooks {
    pub fn new(client: Arc<Client>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { client, authorizer, hooks: Hooks::default() }
    }

    async fn ask(&self, a: &Attributes<'_>, hook: &Hook, i: &Invocation, view: &View) -> Result<Answer, Failure> {
        allows_dry_run(a, hook)?;
        client::ask(&self.client, a, hook, i, view, false).await.map_err(Failure::Call)
    }
}

#[async_trait]
impl Admission for ValidatingWebhooks {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
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
        let answers = futures::future::join_all(relevant.iter().map(|(hook, i, view)| self.ask(asked, hook, i, view))).await;
        let mut refused = None;
        for ((hook, ..), outcome) in relevant.iter().zip(answers) {
            let status = match outcome {
                Err(f) => f.verdict(hook),
                Ok(answer) => {
                    a.warnings.extend(answer.warnings);
                    a.audit.extend(answer.audit.into_iter().map(|(k, x)| (format!("{}/{k}", hook.name), x)));
                    (!answer.allowed).then(|| refusal(&hook.name, answer.status.as_ref()))
                }
            };
            refused = refused.or(status);
        }
        refused.map_or(Ok(()), Err)
    }
}
