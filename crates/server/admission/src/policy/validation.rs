//! One evaluation of a ValidatingAdmissionPolicy. Pure.
use super::declaration::Decides;
use crate::{
    expression::{Compiled, Facts, Names, OUT_OF_BUDGET, compile},
    value,
};
use skiff_cel::Budget;
use skiff_json::Value;

/// Longer messages are not shown.
const MESSAGE_LIMIT: usize = 5 * 1024;
const ANNOTATION_LIMIT: usize = 10 * 1024;

/// What a validating policy has of its own.
#[derive(Debug)]
pub(super) struct Validations {
    checks: Vec<Check>,
    annotations: Vec<Annotation>,
}

#[derive(Debug)]
struct Check {
    expression: String,
    program: Compiled,
    message: String,
    message_program: Option<(String, Compiled)>,
    reason: String,
}

#[derive(Debug)]
struct Annotation {
    key: String,
    expression: String,
    program: Compiled,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    /// Which of the expressions.
    pub index: usize,
    pub message: String,
    /// One of the reasons of a Status; empty: Invalid.
    pub reason: String,
}

/// What one evaluation comes to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub denials: Vec<Denial>,
    /// For the audit event, by their keys.
    pub annotations: Vec<(String, String)>,
    /// Annotations that could not be made deny, whatever the binding's actions are.
    pub faults: Vec<Denial>,
}

impl Decides for Validations {
    const POLICIES: &'static str = "validatingadmissionpolicies.admissionregistration.k8s.io";
    const BINDINGS: &'static str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";

    fn read(spec: &Value, names: Names) -> Self {
        let text = |v: &Value, k| value::text(v, k).to_owned();
        let check = |v: &Value| Check {
            program: compile(value::text(v, "expression"), names),
            expression: text(v, "expression"),
            message: value::text(v, "message").trim().to_owned(),
            message_program: Some(text(v, "messageExpression"))
                .filter(|m| !m.is_empty())
                .map(|m| (m.clone(), compile(&m, Names { no_authorizer: true, ..names }))),
            reason: text(v, "reason"),
        };
        let annotation =
            |v: &Value| Annotation { key: text(v, "key"), expression: text(v, "valueExpression"), program: compile(value::text(v, "valueExpression"), names) };
        Self {
            checks: value::list(spec, "validations").iter().map(check).collect(),
            annotations: value::list(spec, "auditAnnotations").iter().map(annotation).collect(),
        }
    }
}

impl Validations {
    /// `ignores`: what cannot be evaluated passes.
    pub fn evaluate(&self, facts: &Facts<'_>, ignores: bool) -> Outcome {
        let mut out = Outcome::default();
        let mut budget = Budget::new(Budget::POLICY);
        let mut results = Vec::with_capacity(self.checks.len());
        for c in &self.checks {
            let result = facts.run(&c.expression, &c.program, &mut budget);
            if result.as_ref().is_err_and(|why| why == OUT_OF_BUDGET) {
                out.denials.extend(error(0, OUT_OF_BUDGET.into(), ignores));
                return out;
            }
            results.push(result);
        }
        for (index, (c, result)) in self.checks.iter().zip(results).enumerate() {
            match result {
                Ok(skiff_cel::Value::Bool(true)) => {}
                Ok(_) => out.denials.extend(self.denial(index, c, facts, &mut budget, ignores)),
                Err(why) => out.denials.extend(error(index, why, ignores)),
            }
        }
        self.annotate(facts, ignores, &mut out);
        out
    }

    fn denial(&self, index: usize, c: &Check, facts: &Facts<'_>, budget: &mut Budget, ignores: bool) -> Option<Denial> {
        let mut message = String::new();
        if let Some((expression, program)) = &c.message_program {
            match facts.run(expression, program, budget) {
                Ok(skiff_cel::Value::String(s)) => message = s.trim().to_owned(),
                Err(why) if why == OUT_OF_BUDGET => return error(index, format!("failed messageExpression: {why}"), ignores),
                Ok(_) | Err(_) => {}
            }
        }
        if message.len() > MESSAGE_LIMIT || message.contains('\n') {
            message.clear();
        }
        if message.is_empty() {
            message.clone_from(&c.message);
        }
        if message.is_empty() {
            message = format!("failed expression: {}", c.expression.trim());
        }
        Some(Denial { index, message, reason: c.reason.clone() })
    }

    fn annotate(&self, facts: &Facts<'_>, ignores: bool, out: &mut Outcome) {
        let mut budget = Budget::new(Budget::POLICY);
        for (i, x) in self.annotations.iter().enumerate() {
            match facts.run(&x.expression, &x.program, &mut budget) {
                Ok(skiff_cel::Value::Null) => {}
                Ok(skiff_cel::Value::String(s)) if s.trim().is_empty() => {}
                Ok(skiff_cel::Value::String(s)) => out.annotations.push((x.key.clone(), shortened(s.trim()))),
                Ok(_) => out.faults.extend(error(
                    i,
                    format!("valueExpression '{}' resulted in unsupported return type. Return type must be either string or null.", x.expression),
                    ignores,
                )),
                Err(why) => out.faults.extend(error(i, why, ignores)),
            }
        }
    }
}

fn error(index: usize, message: String, ignores: bool) -> Option<Denial> {
    (!ignores).then_some(Denial { index, message, reason: String::new() })
}

fn shortened(s: &str) -> String {
    let end = (0..=ANNOTATION_LIMIT.min(s.len())).rev().find(|i| s.is_char_boundary(*i)).unwrap_or_default();
    s[..end].to_owned()
}
