//! MutatingAdmissionPolicy: what the policies of a request make of its object, one after the other.
use super::{
    counts::{Counts, Verdict},
    declaration::{Bound, Policies, Policy},
    mutation::Mutations,
    selection::{Chosen, With, holds, select, view},
};
use crate::{
    expression::Facts,
    reinvocation::Round,
    request::forbidden,
    value,
    versions::{Views, replace},
    webhook::matching::exempt_of_policies,
};
use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::{Cause, Reason, Status};
use skiff_policy::{Admission, Attributes, Authorizer};
use skiff_telemetry::metrics::Exposition;
use std::{sync::Arc, time::Instant};

const NAME: &str = "MutatingAdmissionPolicy";

pub struct Mutating {
    authorizer: Arc<dyn Authorizer>,
    policies: Policies<Mutations>,
    counts: Counts,
}

/// Why the request is refused: the message, and whether a policy's expression said so.
struct Denial {
    message: String,
    reason: Option<Reason>,
}

impl Mutating {
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { authorizer, policies: Policies::default(), counts: Counts::new("mutating", false) }
    }

    async fn dispatch(&self, a: &mut Attributes<'_>, policies: &[Bound<Mutations>], round: &mut Round) -> Vec<Denial> {
        let (mut views, mut denials) = (Views::default(), Vec::new());
        for Chosen { policy, binding, with } in select(a, policies).await {
            let by = match binding {
                Some(b) => format!("policy '{}' with binding '{}' denied request: ", policy.name, b.name),
                None => format!("policy {:?} denied request: ", policy.name),
            };
            let mut deny = |why: &str, reason| {
                if !policy.ignores_failure {
                    denials.push(Denial { message: format!("{by}{why}"), reason });
                }
            };
            match with {
                Err(why) => deny(&why, None),
                Ok(with) => {
                    let key = format!("{}/{}", policy.name, binding.map_or("", |b| &b.name));
                    let begun = Instant::now();
                    let failures = self.invoke(a, policy, &with, &key, &mut views, round).await;
                    if let Some(b) = binding {
                        let verdict = if failures.is_empty() { Verdict::Allow } else { Verdict::Fault };
                        self.counts.checked(&policy.name, &b.name, [verdict], begun.elapsed());
                    }
                    failures.iter().for_each(|why| deny(why, Some(Reason::Invalid)));
                }
            }
        }
        denials
    }

    /// All mutations of one policy, for each set of parameters. Gives what went wrong.
    async fn invoke(&self, a: &mut Attributes<'_>, policy: &Policy<Mutations>, with: &With, key: &str, views: &mut Views, round: &mut Round) -> Vec<String> {
        let mut failures = Vec::new();
        for params in &with.params {
            let name = |path| params.as_ref().map_or("", |p| value::text(p, path));
            let key = format!("{key}/{}/{}", name("metadata.namespace"), name("metadata.name"));
            if let Some(object) = a.object.as_deref_mut() {
                skiff_meta::unfold(object);
            }
            let before = a.object.as_deref().cloned();
            match self.invoke_with(a, policy, with, params.as_ref(), &key, views, round).await {
                Ok(false) => continue,
                Ok(true) => {}
                Err(mut why) => failures.append(&mut why),
            }
            if before.as_ref() != a.object.as_deref() {
                round.changed();
                a.reinvocation.wanted = true;
            }
            if policy.decides.reinvoked {
                round.asked(&key);
            }
        }
        failures
    }

    /// Gives whether the policy was evaluated at all.
    #[expect(clippy::too_many_arguments, reason = "the request, the policy and the round are three things")]
    async fn invoke_with(
        &self,
        a: &mut Attributes<'_>,
        policy: &Policy<Mutations>,
        with: &With,
        params: Option<&Value>,
        key: &str,
        views: &mut Views,
        round: &Round,
    ) -> Result<bool, Vec<String>> {
        let one = |why: String| vec![why];
        let seen = view(a, views, &with.invocation).await.map_err(one)?;
        if !holds(a, policy, &with.invocation, &seen, params, &*self.authorizer).map_err(one)? {
            return Ok(false);
        }
        if a.object.is_none() || a.reinvocation.again && !round.is_due(key) {
            return Ok(false);
        }
        let mut failures = Vec::new();
        for m in &policy.decides.each {
            let seen = view(a, views, &with.invocation).await.map_err(one)?;
            let outcome = m.evaluate(&Facts::new(a, &with.invocation, &seen, params, &*self.authorizer, &policy.variables));
            let replaced = match outcome {
                Ok(v) => replace(a, &with.invocation.kind, v).await.map_err(|s| s.message),
                Err(why) => Err(why),
            };
            match replaced {
                Ok(true) => views.forget(),
                Ok(false) => {}
                Err(why) => failures.push(why),
            }
        }
        if failures.is_empty() { Ok(true) } else { Err(failures) }
    }
}

fn refusal(a: &Attributes<'_>, denials: Vec<Denial>) -> Result<(), Status> {
    let Some(first) = denials.first() else { return Ok(()) };
    let denied = forbidden(a, "admission request denied by policy");
    let mut status = Status { message: first.message.clone(), reason: first.reason.unwrap_or(denied.reason), ..denied };
    if let Some(details) = &mut status.details {
        details.causes.extend(denials.into_iter().map(|d| Cause { message: d.message, ..Cause::default() }));
    }
    Err(status)
}

#[async_trait]
impl Admission for Mutating {
    fn name(&self) -> &'static str {
        NAME
    }
    fn metrics(&self, out: &mut Exposition) {
        self.counts.expose(out);
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if exempt_of_policies(a) {
            return Ok(());
        }
        let policies = self.policies.of(a);
        if policies.is_empty() {
            return Ok(());
        }
        let mut round = Round::begin(a, NAME);
        let denials = self.dispatch(a, &policies, &mut round).await;
        round.end(a, NAME);
        refusal(a, denials)
    }
}
