//! Expressions about a request: their variables, and match conditions.
//!
//! `object`, `oldObject` and `request` are the request's; `namespaceObject`, `params`, `variables` and `authorizer` are
//! there for policies. Each is made only when an expression uses it.
use crate::{
    authorization,
    request::{aggregate, stored},
    value,
    versions::View,
    webhook::{
        matching::{Invocation, is_namespace},
        review,
    },
};
pub(crate) use skiff_cel::RequestNames as Names;
use skiff_cel::{Budget, EvalError, Program, Scope, from_json};
use skiff_json::Value;
use skiff_policy::{Attributes, Authorizer};
use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

pub(crate) const OUT_OF_BUDGET: &str = "validation failed due to running out of cost budget, no further validation rules will be run";

/// An expression, compiled or not to be compiled.
pub(crate) type Compiled = Result<Arc<Program>, String>;

pub(crate) fn compile(source: &str, names: Names) -> Compiled {
    Program::compile_with(source, &names.all()).map(Arc::new).map_err(|e| format!("compilation failed: {e}"))
}

/// One of `matchConditions`.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub expression: String,
    program: Compiled,
}

impl Condition {
    pub fn read(v: &Value, names: Names) -> Self {
        let expression = value::text(v, "expression").to_owned();
        Self { program: compile(&expression, names), expression }
    }
}

/// A variable that a policy declares: evaluated at most once, when something asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub name: String,
    pub program: Compiled,
}

/// What expressions see of a request.
pub(crate) struct Facts<'a> {
    pub a: &'a Attributes<'a>,
    pub invocation: &'a Invocation,
    pub view: &'a View,
    pub params: Option<&'a Value>,
    pub authorizer: &'a dyn Authorizer,
    pub variables: &'a [Variable],
    /// Match conditions are not shown the namespace.
    shows_namespace: bool,
    made: RefCell<BTreeMap<String, Result<skiff_cel::Value, EvalError>>>,
}

impl<'a> Facts<'a> {
    pub fn new(
        a: &'a Attributes<'a>,
        invocation: &'a Invocation,
        view: &'a View,
        params: Option<&'a Value>,
        authorizer: &'a dyn Authorizer,
        variables: &'a [Variable],
    ) -> Self {
        Self { a, invocation, view, params, authorizer, variables, shows_namespace: true, made: RefCell::default() }
    }

    /// As match conditions see the request.
    pub fn without_namespace(self) -> Self {
        Self { shows_namespace: false, ..self }
    }

    /// One expression, within what one may cost.
    pub fn run(&self, expression: &str, program: &Compiled, budget: &mut Budget) -> Result<skiff_cel::Value, String> {
        match program {
            Ok(p) => self.evaluate(p, budget).map_err(|e| failure(expression, &e)),
            Err(why) => Err(format!("compilation error: {why}")),
        }
    }

    fn evaluate(&self, program: &Program, budget: &mut Budget) -> Result<skiff_cel::Value, EvalError> {
        budget.within(Budget::CALL, |part| program.evaluate(self, part))
    }

    fn make(&self, name: &str) -> Option<skiff_cel::Value> {
        let json = |v: Option<&Value>| v.map_or(skiff_cel::Value::Null, from_json);
        Some(match name {
            "object" => json(self.view.object.as_ref()),
            "oldObject" => json(self.view.old.as_ref()),
            "request" => from_json(&review::about(self.a, self.invocation, "")),
            "params" => json(self.params),
            "namespaceObject" => json(self.namespace().as_ref()),
            "authorizer" => authorization::authorizer(self.a),
            "authorizer.requestResource" => authorization::request_resource(self.a),
            _ => return None,
        })
    }

    /// Requests about namespaces and other cluster-wide things have none.
    fn namespace(&self) -> Option<Value> {
        if !self.shows_namespace || is_namespace(self.a) || self.a.target.namespace.is_empty() {
            return None;
        }
        let mut shown = stored(self.a, "namespaces", "", &self.a.target.namespace)?;
        // Upstream shows no more than this.
        if let Some(m) = shown.get_mut("metadata").and_then(Value::as_object_mut) {
            m.remove("managedFields");
            m.remove("ownerReferences");
        }
        Some(shown)
    }

    fn variable_of(&self, name: &str, budget: &mut Budget) -> Result<skiff_cel::Value, EvalError> {
        let key = format!("variables.{name}");
        if let Some(known) = self.made.borrow().get(&key) {
            return known.clone();
        }
        let declared = self.variables.iter().find(|v| v.name == name).ok_or_else(|| EvalError::NoSuchKey(name.to_owned()))?;
        let out = match &declared.program {
            Ok(p) => p.evaluate(self, budget),
            Err(why) => Err(EvalError::Other(format!("composited variable {name:?} fails to compile: {why}"))),
        };
        let out = out.map_err(|e| match e {
            EvalError::OutOfBudget => e,
            e => EvalError::Other(format!("composited variable {name:?} fails to evaluate: {e}")),
        });
        self.made.borrow_mut().insert(key, out.clone());
        out
    }
}

impl Scope for Facts<'_> {
    fn variable(&self, name: &str, _budget: &mut Budget) -> Option<Result<skiff_cel::Value, EvalError>> {
        // Members of it are evaluated by name.
        if name == "variables" {
            return Some(Ok(authorization::variables()));
        }
        if let Some(known) = self.made.borrow().get(name) {
            return Some(known.clone());
        }
        let made = self.make(name)?;
        self.made.borrow_mut().insert(name.to_owned(), Ok(made.clone()));
        Some(Ok(made))
    }
    fn member(&self, of: &skiff_cel::Value, field: &str, budget: &mut Budget) -> Option<Result<skiff_cel::Value, EvalError>> {
        if authorization::is_variables(of) {
            return Some(self.variable_of(field, budget));
        }
        authorization::member(self.a, of, field)
    }
    fn call(&self, target: &skiff_cel::Value, name: &str, args: &[skiff_cel::Value]) -> Option<Result<skiff_cel::Value, EvalError>> {
        authorization::call(self.authorizer, target, name, args)
    }
}

/// Whether all match conditions of a webhook or policy hold. One that is false decides, whatever errors there are; then
/// an error does.
pub(crate) fn hold(conditions: &[Condition], facts: &Facts<'_>) -> Result<bool, String> {
    let (mut budget, mut errors) = (Budget::new(Budget::CONDITIONS), Vec::new());
    for c in conditions {
        match facts.run(&c.expression, &c.program, &mut budget) {
            Ok(skiff_cel::Value::Bool(true)) => {}
            Ok(skiff_cel::Value::Bool(false)) => return Ok(false),
            Ok(_) => errors.push(format!("compilation error: must evaluate to bool: {}", c.expression)),
            Err(why) => errors.push(why),
        }
    }
    if errors.is_empty() { Ok(true) } else { Err(aggregate(&errors)) }
}

/// Upstream's words for an expression that has no value.
fn failure(expression: &str, e: &EvalError) -> String {
    match e {
        EvalError::OutOfBudget => OUT_OF_BUDGET.into(),
        e => format!("expression '{expression}' resulted in error: {e}"),
    }
}
