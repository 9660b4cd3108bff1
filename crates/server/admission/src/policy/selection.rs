//! Which policies a request is put to, with which parameters.
use super::{
    declaration::{Binding, Bound, Policy},
    params::{params, unknown},
};
use crate::{
    expression::{self, Facts},
    versions::{View, Views},
    webhook::matching::{self, Invocation},
};
use skiff_json::Value;
use skiff_policy::{Attributes, Authorizer};
use std::sync::Arc;

/// One policy that is to be evaluated, or why it cannot be.
pub(super) struct Chosen<'p, D> {
    pub policy: &'p Policy<D>,
    /// None when the policy itself is at fault.
    pub binding: Option<&'p Binding>,
    pub with: Result<With, String>,
}

/// What a policy is evaluated with.
pub(super) struct With {
    pub invocation: Invocation,
    /// One evaluation for each; None is no parameters.
    pub params: Vec<Option<Value>>,
}

/// In the order of the names of policies, then of bindings.
pub(super) async fn select<'p, D>(a: &Attributes<'_>, all: &'p [Bound<D>]) -> Vec<Chosen<'p, D>> {
    let mut out = Vec::new();
    for Bound { policy, bindings } in all {
        let invocation = match matching::invocation(a, &policy.rules) {
            Ok(None) => continue,
            Ok(Some(i)) => i,
            Err(e) => {
                out.push(Chosen { policy, binding: None, with: Err(format!("failed to configure policy: {}", e.message)) });
                continue;
            }
        };
        if let Some(kind) = policy.params.as_ref().filter(|k| a.lookup.served(k).is_none()) {
            out.push(Chosen { policy, binding: None, with: Err(format!("failed to configure policy: {}", unknown(kind))) });
            continue;
        }
        for b in bindings {
            out.extend(bound(a, policy, b, &invocation).await);
        }
    }
    out
}

async fn bound<'p, D>(a: &Attributes<'_>, policy: &'p Policy<D>, binding: &'p Binding, invocation: &Invocation) -> Option<Chosen<'p, D>> {
    let matches = binding.rules.as_ref().map_or(Ok(true), |r| matching::invocation(a, r).map(|i| i.is_some()));
    let with = match matches {
        Ok(false) => return None,
        Err(e) => Err(e.message),
        Ok(true) => params(a, policy.params.as_ref(), binding.params.as_ref()).await.map(|params| With { invocation: invocation.clone(), params }),
    };
    Some(Chosen { policy, binding: Some(binding), with: with.map_err(|why| format!("failed to configure binding: {why}")) })
}

/// The request as the policy sees it.
pub(super) async fn view(a: &Attributes<'_>, views: &mut Views, i: &Invocation) -> Result<Arc<View>, String> {
    views.of(a, &i.kind).await.map_err(|e| format!("failed to configure binding: failed to convert object version: {}", e.message))
}

/// Whether the policy's conditions hold for these parameters.
pub(super) fn holds<D>(
    a: &Attributes<'_>,
    policy: &Policy<D>,
    i: &Invocation,
    view: &View,
    params: Option<&Value>,
    authorizer: &dyn Authorizer,
) -> Result<bool, String> {
    if policy.conditions.is_empty() {
        return Ok(true);
    }
    let facts = Facts::new(a, i, view, params, authorizer, &policy.variables).without_namespace();
    match expression::hold(&policy.conditions, &facts) {
        Err(_) if policy.ignores_failure => Ok(false),
        outcome => outcome,
    }
}
