//! ValidatingAdmissionPolicies whose expressions don't fit the types that they match: warnings in their status (KEP-3488).
//! What they do when a request comes is the API server's business.
mod types;

use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec};
use skiff_cel::check::{Kind, Object, Type};
use skiff_cel::{CompileError, Program};
use skiff_client::PatchBody;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_json::{Value, json};
use skiff_meta::{GroupVersion, GroupVersionKind, GroupVersionResource};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MANAGER: &str = "validatingadmissionpolicy-status";
/// No more types than these are checked a policy.
const TYPES: usize = 10;

struct Policies {
    deps: Deps,
    all: Typed<ValidatingAdmissionPolicy>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let all = deps.informers.of::<ValidatingAdmissionPolicy>();
    let queue = Queue::new();
    let q = queue.clone();
    all.subscribe(move |c| q.add(c.key()));
    (queue, Arc::new(Policies { deps, all }))
}

#[async_trait]
impl Reconcile for Policies {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(policy) = self.all.get("", name) else { return Ok(Action::Done) };
        let generation = policy.metadata.generation.unwrap_or(0);
        if policy.status.as_ref().and_then(|s| s.observed_generation).unwrap_or(0) >= generation {
            return Ok(Action::Done);
        }
        let spec = policy.spec.unwrap_or_default();
        let kind_of = self.deps.settings.kind_of.clone();
        let warnings = tokio::task::spawn_blocking(move || warnings(&spec, &|r| kind_of(r))).await.unwrap_or_default();
        let checked = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
        let body = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "status": {"observedGeneration": generation, "typeChecking": checked}});
        self.deps.client.patch_status::<ValidatingAdmissionPolicy>("", name, PatchBody::apply(&body, MANAGER)).await.at("tell of admission policy", name)?;
        Ok(Action::Done)
    }
}

/// What is wrong with each expression, for each type that the policy names.
fn warnings(spec: &ValidatingAdmissionPolicySpec, kind_of: &dyn Fn(&GroupVersionResource) -> Option<String>) -> Vec<Value> {
    let kinds: Vec<(GroupVersionKind, Type)> = kinds(spec, kind_of).into_iter().filter_map(|k| types::of(&k).map(|t| (k, t))).collect();
    let params = spec.param_kind.as_ref().map(|p| {
        let kind = GroupVersion::parse(p.api_version.as_deref().unwrap_or_default()).map(|gv| gv.kind(p.kind.clone().unwrap_or_default()));
        kind.and_then(|k| types::of(&k)).unwrap_or_else(|| Type::new(Kind::Dyn))
    });
    let variables: Vec<(&str, &str)> = spec.variables.iter().flatten().map(|v| (v.name.as_str(), v.expression.as_str())).collect();
    let scopes: Vec<(&GroupVersionKind, Vec<(&str, Type)>)> = kinds.iter().map(|(k, t)| (k, scope(t, params.as_ref(), &variables))).collect();
    let mut found = Vec::new();
    for (i, v) in spec.validations.iter().flatten().enumerate() {
        let parts = [("expression", Some(v.expression.as_str())), ("messageExpression", v.message_expression.as_deref().filter(|m| !m.is_empty()))];
        for (field, source) in parts.into_iter().filter_map(|(f, s)| Some((f, s?))) {
            let told: Vec<String> = scopes.iter().filter_map(|(k, scope)| Some(format!("{}: {}\n", go(k), wrong(source, scope)?))).collect();
            if !told.is_empty() {
                found.push(json!({"fieldRef": format!("spec.validations[{i}].{field}"), "warning": told.join("\n")}));
            }
        }
    }
    found
}

/// A kind as Go prints it.
fn go(k: &GroupVersionKind) -> String {
    format!("{}, Kind={}", k.api_version(), k.kind)
}

/// The expression's type. None: it asks the authorizer, whose functions the checker doesn't know.
fn check(source: &str, scope: &[(&str, Type)]) -> Option<Result<Type, CompileError>> {
    match Program::compile(source) {
        Ok(p) if p.free_names().contains("authorizer") => None,
        Ok(p) => Some(p.check(source, scope).map(|c| c.ty)),
        Err(e) => Some(Err(e)),
    }
}

fn wrong(source: &str, scope: &[(&str, Type)]) -> Option<String> {
    check(source, scope)?.err().map(|e| format!("compilation failed: {e}"))
}

/// The variables of an expression about this type.
fn scope<'a>(object: &Type, params: Option<&Type>, variables: &[(&'a str, &str)]) -> Vec<(&'a str, Type)> {
    let any = || Type::new(Kind::Dyn);
    let mut scope: Vec<(&str, Type)> =
        vec![("object", object.clone()), ("oldObject", object.clone()), ("request", types::request()), ("namespaceObject", any()), ("authorizer", any())];
    scope.extend(params.map(|p| ("params", p.clone())));
    let mut known: BTreeMap<String, Type> = BTreeMap::new();
    for (name, source) in variables {
        let mut with = scope.clone();
        with.push(("variables", composed(known.clone())));
        let ty = check(source, &with).and_then(Result::ok).unwrap_or_else(any);
        known.insert((*name).to_owned(), ty);
    }
    scope.push(("variables", composed(known)));
    scope
}

fn composed(fields: BTreeMap<String, Type>) -> Type {
    Type::new(Kind::Object(Arc::new(Object { name: "kubernetes.variables".into(), fields })))
}

/// The types that the rules name, wildcards apart.
fn kinds(spec: &ValidatingAdmissionPolicySpec, kind_of: &dyn Fn(&GroupVersionResource) -> Option<String>) -> Vec<GroupVersionKind> {
    let mut found = BTreeSet::new();
    for rule in spec.match_constraints.iter().flat_map(|m| m.resource_rules.iter().flatten()) {
        let (groups, versions) = (rule.api_groups.clone().unwrap_or_default(), rule.api_versions.clone().unwrap_or_default());
        if groups.iter().chain(&versions).any(|x| x.contains('*')) {
            continue;
        }
        let resources = rule.resources.iter().flatten().filter(|r| !r.contains(['*', '/']));
        for resource in resources {
            for (group, version) in groups.iter().flat_map(|g| versions.iter().map(move |v| (g, v))) {
                let r = GroupVersionResource::new(group.clone(), version.clone(), resource.clone());
                if let Some(kind) = kind_of(&r).filter(|_| found.len() < TYPES) {
                    found.insert((group.clone(), version.clone(), kind));
                }
            }
        }
    }
    found.into_iter().map(|(g, v, k)| GroupVersion::new(g, v).kind(k)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(v: Value) -> Vec<String> {
        let mut spec =
            json!({"matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}]}});
        for (k, x) in v.as_object().unwrap() {
            spec[k] = x.clone();
        }
        let spec: ValidatingAdmissionPolicySpec = skiff_json::from_value(spec).unwrap();
        let kind_of = |r: &GroupVersionResource| (&*r.resource == "deployments").then(|| "Deployment".to_owned());
        warnings(&spec, &kind_of).iter().map(|w| format!("{}: {}", w["fieldRef"].as_str().unwrap(), w["warning"].as_str().unwrap())).collect()
    }

    #[test]
    fn fields_that_are_not_there() {
        assert!(told(json!({"validations": [{"expression": "object.spec.replicas > 1 && object.metadata.namespace != 'x'"}]})).is_empty());
        let found = told(
            json!({"validations": [{"expression": "object.foo < 5"}, {"expression": "object.spec.replicas == 'x'", "messageExpression": "object.spec.replicas + 'x'"}]}),
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].starts_with("spec.validations[0].expression: apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:7: undefined field 'foo'"),
            "{}",
            found[0]
        );
    }

    #[test]
    fn variables_carry_their_types() {
        let with =
            |expression: &str| told(json!({"variables": [{"name": "n", "expression": "object.spec.replicas"}], "validations": [{"expression": expression}]}));
        assert!(with("variables.n > 1 && request.operation == 'CREATE' && authorizer.group('').resource('pods').check('get').allowed()").is_empty());
        assert_eq!(with("variables.n == 'x'").len(), 1);
        assert_eq!(with("variables.other == 1").len(), 1);
        assert_eq!(with("params.x == 1").len(), 1);
    }
}
