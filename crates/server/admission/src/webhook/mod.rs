//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: programs outside have a say in every write.
//!
//! Mutating webhooks are asked one after the other, each seeing what the one before made of the object; validating ones
//! all at once. [`hook`] reads declarations, [`matching`] decides who is asked about what, [`review`] is the question
//! and the answer, [`refusal`] the words of a refusal: all pure. [`client`] alone reaches out, through `skiff-webhook`.
//!
//! Declarations of admission are never shown, so that a bad one can always be taken away.

mod client;
mod counts;
mod hook;
pub(crate) mod matching;
mod mutating;
mod refusal;
pub(crate) mod review;
#[cfg(test)]
mod tests;
mod validating;

pub use mutating::MutatingWebhooks;
pub use validating::ValidatingWebhooks;

use crate::{
    expression::{self, Facts},
    request::forbidden,
    versions::Views,
};
use hook::Hook;
use matching::Invocation;
use skiff_meta::Status;
use skiff_policy::{Attributes, Authorizer};

/// Why a webhook's answer is not to be had, or what it was.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be asked; the failure policy decides.
    Call(String),
    /// It said no, or cannot be asked at all (dry run).
    Refused(Status),
}

impl Failure {
    /// What the request comes to: None when the webhook's failure is to be ignored.
    fn verdict(self, hook: &Hook) -> Option<Status> {
        match self {
            Failure::Refused(status) => Some(status),
            Failure::Call(why) => {
                let why = format!("failed calling webhook {:?}: {why}", hook.name);
                tracing::warn!(target: "admission", webhook = %hook.name, ignored = hook.ignores_failure, error = %why, "webhook failed");
                (!hook.ignores_failure).then(|| Status::internal(why))
            }
        }
    }
}

/// Whether and as what the webhook is asked.
async fn invocation(a: &Attributes<'_>, hook: &Hook, views: &mut Views, authorizer: &dyn Authorizer) -> Result<Option<Invocation>, Status> {
    let Some(found) = matching::invocation(a, &hook.rules)? else { return Ok(None) };
    if hook.conditions.is_empty() {
        return Ok(Some(found));
    }
    let view = views.of(a, &found.kind).await?;
    let facts = Facts::new(a, &found, &view, None, authorizer, &[]).without_namespace();
    match expression::hold(&hook.conditions, &facts) {
        Ok(true) => Ok(Some(found)),
        Ok(false) => Ok(None),
        Err(_) if hook.ignores_failure => Ok(None),
        Err(why) => Err(forbidden(a, why)),
    }
}

/// A dry run must have no effects outside.
fn allows_dry_run(a: &Attributes<'_>, hook: &Hook) -> Result<(), Failure> {
    match hook.side_effects.as_str() {
        _ if !a.dry_run => Ok(()),
        "None" | "NoneOnDryRun" => Ok(()),
        "" => Err(Failure::Call("Webhook SideEffects is nil".into())),
        _ => Err(Failure::Refused(Status::bad_request(format!("admission webhook {:?} does not support dry run", hook.name)))),
    }
}
