//! Declared policies and their bindings, read once and kept until a declaration changes.
use crate::{
    declared::Declared,
    expression::{Condition, Names, Variable, compile},
    value,
    webhook::matching::Rules,
};
use skiff_json::Value;
use skiff_meta::{GroupVersion, GroupVersionKind, LabelSelector};
use skiff_policy::Attributes;
use std::{collections::BTreeMap, sync::Arc};

/// What one of the two kinds of policies has of its own.
pub(super) trait Decides: Sized + Send + Sync {
    /// Where policies and bindings are.
    const POLICIES: &'static str;
    const BINDINGS: &'static str;
    fn read(spec: &Value, names: Names) -> Self;
}

/// What policies of both kinds have.
#[derive(Debug)]
pub(super) struct Policy<D> {
    pub name: String,
    pub rules: Rules,
    pub params: Option<GroupVersionKind>,
    pub ignores_failure: bool,
    pub conditions: Vec<Condition>,
    pub variables: Vec<Variable>,
    pub decides: D,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub name: String,
    /// None: everything that the policy matches.
    pub rules: Option<Rules>,
    pub params: Option<Reference>,
    pub actions: Vec<String>,
}

/// Which parameters a binding means.
#[derive(Debug)]
pub(super) struct Reference {
    pub namespace: String,
    pub name: String,
    pub selector: Option<Result<LabelSelector, String>>,
    /// `parameterNotFoundAction: Deny`.
    pub must_exist: bool,
}

/// Policies that are bound, by their names.
#[derive(Debug)]
pub(super) struct Bound<D> {
    pub policy: Policy<D>,
    pub bindings: Vec<Binding>,
}

pub(super) struct Policies<D>(Declared<Vec<Bound<D>>>);

impl<D> Default for Policies<D> {
    fn default() -> Self {
        Self(Declared::default())
    }
}

impl<D: Decides> Policies<D> {
    pub fn of(&self, a: &Attributes<'_>) -> Arc<Vec<Bound<D>>> {
        let policies = a.lookup.list(D::POLICIES, "");
        if policies.is_empty() {
            return Arc::default();
        }
        let objects = [policies, a.lookup.list(D::BINDINGS, "")].concat();
        self.0.of(objects, read)
    }
}

fn read<D: Decides>(objects: &[Value]) -> Vec<Bound<D>> {
    let (bindings, policies): (Vec<&Value>, Vec<&Value>) = objects.iter().partition(|v| value::text(v, "kind").ends_with("Binding"));
    let mut bound: BTreeMap<&str, Vec<Binding>> = BTreeMap::new();
    for b in bindings {
        bound.entry(value::text(b, "spec.policyName")).or_default().push(binding(b));
    }
    let with_bindings = policies.into_iter().filter_map(|p| Some(Bound { bindings: bound.remove(value::text(p, "metadata.name"))?, policy: policy(p) }));
    with_bindings.collect()
}

fn policy<D: Decides>(v: &Value) -> Policy<D> {
    let spec = v.get("spec").unwrap_or(&Value::Null);
    let params = value::at(spec, "paramKind").and_then(|p| Some(GroupVersion::parse(value::text(p, "apiVersion"))?.kind(value::text(p, "kind").to_owned())));
    let names = Names { params: params.is_some(), variables: true, no_authorizer: false };
    let variable = |x: &Value| Variable { name: value::text(x, "name").to_owned(), program: compile(value::text(x, "expression"), names) };
    Policy {
        name: value::text(v, "metadata.name").to_owned(),
        rules: rules(spec.get("matchConstraints").unwrap_or(&Value::Null)),
        ignores_failure: value::text(spec, "failurePolicy") == "Ignore",
        conditions: value::list(spec, "matchConditions").iter().map(|c| Condition::read(c, names)).collect(),
        variables: value::list(spec, "variables").iter().map(variable).collect(),
        decides: D::read(spec, names),
        params,
    }
}

fn binding(v: &Value) -> Binding {
    let text = |path| value::text(v, path).to_owned();
    Binding {
        name: text("metadata.name"),

        rules: value::at(v, "spec.matchResources").map(|m| rules(m).without_rules()),
        params: value::at(v, "spec.paramRef").map(reference),
        actions: value::list(v, "spec.validationActions").iter().filter_map(|x| x.as_str().map(str::to_owned)).collect(),
    }
}

fn rules(v: &Value) -> Rules {
    Rules::read(v, value::list(v, "resourceRules"), value::text(v, "matchPolicy"))
}

fn reference(v: &Value) -> Reference {
    Reference {
        namespace: value::text(v, "namespace").to_owned(),
        name: value::text(v, "name").to_owned(),
        selector: value::at(v, "selector").map(|s| LabelSelector::from_json(Some(s)).map_err(|e| e.to_string())),
        must_exist: value::text(v, "parameterNotFoundAction") == "Deny",
    }
}
