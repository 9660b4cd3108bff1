//! ValidatingAdmissionPolicy: what the policies of a request come to.
use super::{
    counts::{Counts, Verdict},
    declaration::{Binding, Policies, Policy},
    selection::{Chosen, With, holds, select, view},
    validation::{Denial, Outcome, Validations},
};
use crate::{expression::Facts, request::forbidden, versions::Views, webhook::matching::exempt_of_policies};
use async_trait::async_trait;
use skiff_json::{Value, json};
use skiff_meta::{Cause, Reason, Status};
use skiff_policy::{Admission, Attributes, Authorizer};
use skiff_telemetry::metrics::Exposition;
use std::{collections::BTreeMap, sync::Arc, time::Instant};

/// So many failures are put into the audit event.
const RECORDED: usize = 50;

pub struct Validating {
    authorizer: Arc<dyn Authorizer>,
    policies: Policies<Validations>,
    counts: Counts,
}

/// What has come of the policies so far.
#[derive(Default)]
struct Findings {
    refused: Option<Status>,
    warnings: Vec<String>,
    recorded: Vec<Value>,
    annotations: BTreeMap<String, Vec<String>>,
}

impl Validating {
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { authorizer, policies: Policies::default(), counts: Counts::new("validating", true) }
    }

    /// One evaluation for each set of parameters; the error is a fault of the configuration.
    async fn evaluate(&self, a: &Attributes<'_>, policy: &Policy<Validations>, with: &With, views: &mut Views) -> Result<Vec<Outcome>, String> {
        if with.params.is_empty() {
            return Ok(Vec::new());
        }
        let view = view(a, views, &with.invocation).await?;
        let each = with.params.iter().map(|params| match holds(a, policy, &with.invocation, &view, params.as_ref(), &*self.authorizer) {
            Ok(false) => Outcome::default(),
            Ok(true) => {
                let facts = Facts::new(a, &with.invocation, &view, params.as_ref(), &*self.authorizer, &policy.variables);
                policy.decides.evaluate(&facts, policy.ignores_failure)
            }
            Err(message) => Outcome { denials: vec![Denial { index: 0, message, reason: String::new() }], ..Outcome::default() },
        });
        Ok(each.collect())
    }
}

impl Findings {
    fn add(&mut self, a: &Attributes<'_>, policy: &Policy<Validations>, binding: &Binding, outcome: Outcome) {
        for d in &outcome.denials {
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => self.deny(a, &policy.name, Some(binding), d),
                    "Warn" => self.warnings.push(format!("Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}", policy.name, binding.name, d.message)),
                    _ => self.recorded.push(json!({"message": d.message, "policy": policy.name, "binding": binding.name, "expressionIndex": d.index, "validationActions": binding.actions})),
                }
            }
        }
        for (key, text) in outcome.annotations {
            let all = self.annotations.entry(format!("{}/{key}", policy.name)).or_default();
            if !all.contains(&text) {
                all.push(text);
            }
        }
        outcome.faults.iter().for_each(|d| self.deny(a, &policy.name, Some(binding), d));
    }

    /// The first is what the client is told.
    fn deny(&mut self, a: &Attributes<'_>, policy: &str, binding: Option<&Binding>, d: &Denial) {
        if self.refused.is_some() {
            return;
        }
        let by = binding.map_or_else(String::new, |b| format!(" with binding '{}'", b.name));
        let why = format!("ValidatingAdmissionPolicy '{policy}'{by} denied request: {}", d.message);
        let reason = match d.reason.as_str() {
            "Forbidden" => Reason::Forbidden,
            "Unauthorized" => Reason::Unauthorized,
            "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
            _ => Reason::Invalid,
        };
        let mut status = Status { reason, code: reason.code(), ..forbidden(a, &why) };
        if let Some(details) = &mut status.details {
            details.causes.push(Cause { message: why, ..Cause::default() });
        }
        self.refused = Some(status);
    }

    fn publish(mut self, a: &mut Attributes<'_>) -> Result<(), Status> {
        a.warnings.append(&mut self.warnings);
        a.audit.extend(self.annotations.into_iter().map(|(k, all)| (k, all.join(", "))));
        self.recorded.truncate(RECORDED);
        if !self.recorded.is_empty() {
            a.audit.insert("validation.policy.admission.k8s.io/validation_failure".into(), Value::Array(self.recorded).to_string());
        }
        self.refused.map_or(Ok(()), Err)
    }
}

/// What is counted of a binding's evaluation.
fn verdicts(outcomes: &Result<Vec<Outcome>, String>, binding: &Binding) -> Vec<Verdict> {
    let Ok(all) = outcomes else { return vec![Verdict::Fault] };
    if all.iter().any(|o| !o.faults.is_empty()) {
        return vec![Verdict::Fault];
    }
    if all.iter().all(|o| o.denials.is_empty()) {
        return vec![Verdict::Allow];
    }
    let action = |a: &String| match a.as_str() {
        "Deny" => Verdict::Deny,
        "Warn" => Verdict::Warn,
        _ => Verdict::Audit,
    };
    binding.actions.iter().map(action).collect()
}

#[async_trait]
impl Admission for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }
    fn metrics(&self, out: &mut Exposition) {
        self.counts.expose(out);
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if exempt_of_policies(a) {
            return Ok(());
        }
        let policies = self.policies.of(a);
        let (mut views, mut findings) = (Views::default(), Findings::default());
        for Chosen { policy, binding, with } in select(a, &policies).await {
            let begun = Instant::now();
            let outcomes = match with {
                Ok(with) => self.evaluate(a, policy, &with, &mut views).await,
                Err(why) => Err(why),
            };
            if let Some(binding) = binding {
                self.counts.checked(&policy.name, &binding.name, verdicts(&outcomes, binding), begun.elapsed());
            }
            match (outcomes, binding) {
                (Ok(all), Some(binding)) => all.into_iter().for_each(|o| findings.add(a, policy, binding, o)),
                (Err(message), _) if !policy.ignores_failure => findings.deny(a, &policy.name, binding, &Denial { index: 0, message, reason: String::new() }),
                _ => {}
            }
        }
        findings.publish(a)
    }
}
