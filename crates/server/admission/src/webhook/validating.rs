//! Validating webhooks, all at once.
use super::{Client, Failure, allows_dry_run, hook::{Hook, Hooks}, invocation, matching::{self, Invocation}, refusal::refusal};
use crate::versions::{View, Views};
use async_trait::async_trait;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes, Authorizer};
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

    /// Gives the webhook's warnings.
    async fn ask(&self, a: &Attributes<'_>, hook: &Hook, i: &Invocation, view: &View) -> (Vec<String>, Result<(), Failure>) {
        if let Err(f) = allows_dry_run(a, hook) {
            return (Vec::new(), Err(f));
        }
        match self.client.ask(a, hook, i, view, false).await {
            Err(why) => (Vec::new(), Err(Failure::Call(why))),
            Ok(answer) if answer.allowed => (answer.warnings, Ok(())),
            Ok(answer) => (answer.warnings, Err(Failure::Refused(refusal(&hook.name, answer.status.as_ref())))),
        }
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
            if let Some(i) = invocation(a, hook, &mut views, &*self.authorizer)? {
                let view = views.of(a, &i.kind)?;
                relevant.push((hook, i, view));
            }
        }
        let asked: &Attributes<'_> = a;
        let answers = futures::future::join_all(relevant.iter().map(|(hook, i, view)| self.ask(asked, hook, i, view))).await;
        let mut refused = None;
        for ((hook, ..), (warnings, outcome)) in relevant.iter().zip(answers) {
            a.warnings.extend(warnings);
            let status = outcome.err().and_then(|f| f.verdict(hook));
            refused = refused.or(status);
        }
        refused.map_or(Ok(()), Err)
    }
}
