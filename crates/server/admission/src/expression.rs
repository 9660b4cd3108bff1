//! Expressions about a request: their variables, and match conditions.
//!
//! `object`, `oldObject` and `request` are the request's; `namespaceObject`, `params`, `variables` and `authorizer` are
//! there for policies. Each is made only when an expression uses it.
use crate::{
    authorization,
    request::{Operation, aggregate, operation, stored},
    value,
    versions::View,
    webhook::{matching::{Invocation, namespace_of}, review},
};
use serde_json::Value;
use skiff_cel::{Budget, EvalError, Program, Scope, from_json};
use skiff_policy::{Attributes, Authorizer};
use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

/// An expression, compiled or not to be compiled.
pub(crate) type Compiled = Result<Arc<Program>, String>;

pub(crate) fn compile(source: &str) -> Compiled {
    Program::compile(source).map(Arc::new).map_err(|e| format!("compilation error: compilation failed: {e}"))
}

/// One of `matchConditions`.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub expression: String,
    program: Compiled,
}

impl Condition {
    pub fn read(v: &Value) -> Self {
        let expression = value::text(v, "expression").to_owned();
        Self { program: compile(&expression), expression }
    }
}

/// A variable that a policy declares: evaluated at most once, when something asks for it.
#[derive(Debug)]
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
    made: RefCell<BTreeMap<String, Result<skiff_cel::Value, EvalError>>>,
}

impl<'a> Facts<'a> {
    pub fn new(a: &'a Attributes<'a>, invocation: &'a Invocation, view: &'a View, params: Option<&'a Value>, authorizer: &'a dyn Authorizer, variables: &'a [Variable]) -> Self {
        Self { a, invocation, view, params, authorizer, variables, made: RefCell::default() }
    }

    /// One expression, within what one may cost.
    pub fn evaluate(&self, program: &Program, budget: &mut Budget) -> Result<skiff_cel::Value, EvalError> {
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
            _ => return None,
        })
    }

    /// Of a namespace that is made or changed it is the namespace itself; of other cluster-wide things there is none.
    fn namespace(&self) -> Option<Value> {
        let name = namespace_of(self.a);
        if name.is_empty() {
            return None;
        }
        let own = self.view.object.clone().filter(|_| name != self.a.target.namespace && operation(self.a) != Operation::Delete);
        let v = own.or_else(|| stored(self.a, "namespaces", "", name))?;
        // Upstream shows no more than this.
        let mut shown = v.clone();
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

/// All of the match conditions of one webhook or policy.
pub(crate) struct Conditions<'a>(&'a [Condition]);

impl<'a> Conditions<'a> {
    pub fn new(all: &'a [Condition]) -> Self {
        Self(all)
    }

    /// One that is false decides, whatever errors there are; then an error does.
    pub fn hold(&self, a: &Attributes<'_>, i: &Invocation, view: &View, params: Option<&Value>, authorizer: &dyn Authorizer) -> Result<bool, String> {
        let facts = Facts::new(a, i, view, params, authorizer, &[]);
        let (mut budget, mut errors) = (Budget::new(Budget::CONDITIONS), Vec::new());
        for c in self.0 {
            let outcome = match &c.program {
                Ok(p) => facts.evaluate(p, &mut budget).map_err(|e| failure(&c.expression, &e)),
                Err(why) => Err(why.clone()),
            };
            match outcome {
                Ok(skiff_cel::Value::Bool(true)) => {}
                Ok(skiff_cel::Value::Bool(false)) => return Ok(false),
                Ok(_) => errors.push(format!("cel expression evaluates to {:?}: must evaluate to bool", c.expression)),
                Err(why) => errors.push(why),
            }
        }
        if errors.is_empty() { Ok(true) } else { Err(aggregate(&errors)) }
    }
}

/// Upstream's words for an expression that has no value.
pub(crate) fn failure(expression: &str, e: &EvalError) -> String {
    match e {
        EvalError::OutOfBudget => "validation failed due to running out of cost budget, no further validation rules will be run".into(),
        e => format!("expression '{expression}' resulted in error: {e}"),
    }
}
