//! The evaluator: a walk over the expression that counts its steps.
use crate::{Budget, EvalError, Value, literal, operators, value};
use kube_cel::{
    KubeCelExt,
    cel::{
        Context, ExecutionError, IdedExpr,
        common::ast::{CallExpr, ComprehensionExpr, Expr, SelectExpr, operators as op},
    },
};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// What names mean. Asked for a variable only when it is used.
pub trait Scope {
    fn variable(&self, name: &str, budget: &mut Budget) -> Option<Result<Value, EvalError>>;
    /// Fields of values that only this scope knows.
    fn member(&self, _of: &Value, _field: &str, _budget: &mut Budget) -> Option<Result<Value, EvalError>> {
        None
    }
    /// Functions that only this scope has: methods of its own values.
    fn call(&self, _target: &Value, _name: &str, _args: &[Value]) -> Option<Result<Value, EvalError>> {
        None
    }
}

/// A scope of known values.
#[derive(Default)]
pub struct Variables(pub HashMap<String, Value>);

impl Scope for Variables {
    fn variable(&self, name: &str, _budget: &mut Budget) -> Option<Result<Value, EvalError>> {
        self.0.get(name).cloned().map(Ok)
    }
}

pub(crate) struct Evaluation<'a> {
    pub scope: &'a dyn Scope,
    pub budget: &'a mut Budget,
}

/// A scope with a few names on top.
struct Inner<'a> {
    outer: &'a dyn Scope,
    bound: Vec<(&'a str, Value)>,
}

impl Scope for Inner<'_> {
    fn variable(&self, name: &str, budget: &mut Budget) -> Option<Result<Value, EvalError>> {
        match self.bound.iter().find(|(n, _)| *n == name) {
            Some((_, v)) => Some(Ok(v.clone())),
            None => self.outer.variable(name, budget),
        }
    }
    fn member(&self, of: &Value, field: &str, budget: &mut Budget) -> Option<Result<Value, EvalError>> {
        self.outer.member(of, field, budget)
    }
    fn call(&self, target: &Value, name: &str, args: &[Value]) -> Option<Result<Value, EvalError>> {
        self.outer.call(target, name, args)
    }
}

/// Prefixes of library functions, which look like variables.
pub(crate) fn is_library(name: &str) -> bool {
    matches!(name, "sets" | "math" | "base64" | "optional" | "format" | "jsonpatch" | "ip" | "lists" | "strings")
}

/// How many of a call's first arguments are names that it binds: macros that the parser leaves alone.
pub(crate) fn binds(c: &CallExpr) -> usize {
    match (c.func_name.as_str(), c.args.len()) {
        _ if c.target.is_none() => 0,
        ("optMap" | "optFlatMap", 2) => 1,
        ("all" | "exists" | "existsOne" | "exists_one" | "transformList" | "transformMap", 3) => 2,
        ("transformList" | "transformMap", 4) => 2,
        _ => 0,
    }
}

/// `cel.bind(name, value, body)`: name, value and body. Where it may be used, `cel` is declared as a variable.
pub(crate) fn binding(c: &CallExpr) -> Option<(&str, &IdedExpr, &IdedExpr)> {
    let cel = matches!(c.target.as_deref(), Some(IdedExpr { expr: Expr::Ident(n), .. }) if n == "cel");
    match &c.args[..] {
        [IdedExpr { expr: Expr::Ident(name), .. }, value, body] if cel && c.func_name == "bind" => Some((name, value, body)),
        _ => None,
    }
}

impl Evaluation<'_> {
    pub fn run(&mut self, e: &IdedExpr) -> Result<Value, EvalError> {
        self.budget.spend(1)?;
        match &e.expr {
            Expr::Literal(l) => Ok(literal::scalar(l)),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(s) => self.select(s),
            Expr::Call(c) => self.call(c),
            Expr::List(l) => literal::list(self, l),
            Expr::Map(m) => literal::entries(self, &m.entries),
            Expr::Struct(s) => literal::entries(self, &s.entries),
            Expr::Comprehension(c) => self.comprehension(c),
            Expr::Unspecified => Err(EvalError::NoSuchOverload),
        }
    }

    fn variable(&mut self, name: &str) -> Result<Value, EvalError> {
        match self.scope.variable(name, self.budget) {
            Some(v) => v,
            None if value::is_type_name(name) => Ok(value::type_value(name)),
            None => Err(EvalError::Undeclared(name.to_owned())),
        }
    }

    fn select(&mut self, s: &SelectExpr) -> Result<Value, EvalError> {
        let operand = self.run(&s.operand)?;
        let field = value::text(&s.field);
        if let Some(inner) = value::optional(&operand) {
            let found = inner.map(|v| operators::member(v, &field)).transpose()?.flatten();
            return Ok(if s.test { Value::Bool(found.is_some()) } else { value::optional_of(found) });
        }
        if matches!(operand, Value::Opaque(_))
            && let Some(found) = self.scope.member(&operand, &s.field, self.budget)
        {
            return if s.test { Ok(Value::Bool(!matches!(found, Err(EvalError::NoSuchKey(_))))) } else { found };
        }
        let found = operators::member(&operand, &field)?;
        match (s.test, found) {
            (true, found) => Ok(Value::Bool(found.is_some())),
            (false, Some(v)) => Ok(v),
            (false, None) => Err(EvalError::NoSuchKey(s.field.clone())),
        }
    }

    fn boolean(&mut self, e: &IdedExpr) -> Result<bool, EvalError> {
        match self.run(e)? {
            Value::Bool(b) => Ok(b),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    /// `&&` and `||`: one side that decides makes up for an error of the other.
    fn logical(&mut self, a: &IdedExpr, b: &IdedExpr, decides: bool) -> Result<Value, EvalError> {
        let first = self.boolean(a);
        if matches!(first, Ok(x) if x == decides) || matches!(first, Err(EvalError::OutOfBudget)) {
            return first.map(Value::Bool);
        }
        match self.boolean(b) {
            Ok(x) if x == decides => Ok(Value::Bool(decides)),
            second => first.and(second).map(Value::Bool),
        }
    }

    fn call(&mut self, c: &CallExpr) -> Result<Value, EvalError> {
        match (c.func_name.as_str(), &c.target, &c.args[..]) {
            (op::CONDITIONAL, _, [test, yes, no]) => {
                let branch = if self.boolean(test)? { yes } else { no };
                self.run(branch)
            }
            (op::LOGICAL_OR, _, [a, b]) => self.logical(a, b, true),
            (op::LOGICAL_AND, _, [a, b]) => self.logical(a, b, false),
            (op::NOT_STRICTLY_FALSE, _, [a]) => match self.boolean(a) {
                Err(EvalError::OutOfBudget) => Err(EvalError::OutOfBudget),
                other => Ok(Value::Bool(other.unwrap_or(true))),
            },
            _ if binds(c) > 0 => self.macro_call(c),
            _ if binding(c).is_some() => self.bind(c),
            (name, None, args) => {
                let args = self.all(args)?;
                self.function(name, args)
            }
            (name, Some(target), args) => self.method(name, target, args),
        }
    }

    fn all(&mut self, args: &[IdedExpr]) -> Result<Vec<Value>, EvalError> {
        args.iter().map(|a| self.run(a)).collect()
    }

    /// Operators, and functions that the libraries lack or have otherwise.
    fn function(&mut self, name: &str, args: Vec<Value>) -> Result<Value, EvalError> {
        self.budget.spend(args.iter().map(value::size).sum())?;
        let compared = |a: &Value, b: &Value| operators::order(a, b).ok_or(EvalError::NoSuchOverload);
        match (name, &args[..]) {
            (op::EQUALS, [a, b]) => Ok(Value::Bool(operators::equal(a, b))),
            (op::NOT_EQUALS, [a, b]) => Ok(Value::Bool(!operators::equal(a, b))),
            (op::LESS, [a, b]) => Ok(Value::Bool(compared(a, b)?.is_lt())),
            (op::LESS_EQUALS, [a, b]) => Ok(Value::Bool(compared(a, b)?.is_le())),
            (op::GREATER, [a, b]) => Ok(Value::Bool(compared(a, b)?.is_gt())),
            (op::GREATER_EQUALS, [a, b]) => Ok(Value::Bool(compared(a, b)?.is_ge())),
            (op::IN, [v, container]) => operators::contains(container, v).map(Value::Bool),
            (op::LOGICAL_NOT, [Value::Bool(b)]) => Ok(Value::Bool(!b)),
            (op::NEGATE, [v]) => operators::negate(v.clone()),
            (op::INDEX, [v, key]) => index(v, key),
            (op::OPT_INDEX | op::OPT_SELECT, [v, key]) => optional_member(v, key),
            (op::ADD, [a, b]) => operators::arithmetic('+', a.clone(), b.clone()),
            (op::SUBSTRACT, [a, b]) => operators::arithmetic('-', a.clone(), b.clone()),
            (op::MULTIPLY, [a, b]) => operators::arithmetic('*', a.clone(), b.clone()),
            (op::DIVIDE, [a, b]) => operators::arithmetic('/', a.clone(), b.clone()),
            (op::MODULO, [a, b]) => operators::arithmetic('%', a.clone(), b.clone()),
            (op::LOGICAL_NOT, _) => Err(EvalError::NoSuchOverload),
            ("dyn", [v]) => Ok(v.clone()),
            ("type", [v]) => Ok(value::type_value(&value::type_name(v))),
            ("bool", [Value::Bool(b)]) => Ok(Value::Bool(*b)),
            ("bool", [Value::String(s)]) if matches!(s.as_str(), "true" | "false") => Ok(Value::Bool(s.as_str() == "true")),
            _ => library(name, None, None, &args),
        }
    }

    fn method(&mut self, name: &str, target: &IdedExpr, args: &[IdedExpr]) -> Result<Value, EvalError> {
        if let Expr::Ident(prefix) = &target.expr
            && is_library(prefix)
            && self.scope.variable(prefix, self.budget).is_none()
        {
            let args = self.all(args)?;
            self.budget.spend(args.iter().map(value::size).sum())?;
            return match (prefix.as_str(), name, &args[..]) {
                ("optional", "none", []) => Ok(value::optional_of(None)),
                ("optional", "of", [v]) => Ok(value::optional_of(Some(v.clone()))),
                ("optional", "ofNonZeroValue", [v]) => Ok(value::optional_of(Some(v.clone()).filter(|v| !value::is_zero(v)))),
                _ => library(name, Some(prefix), None, &args),
            };
        }
        let this = self.run(target)?;
        if let Some(inner) = value::optional(&this) {
            return self.of_optional(&this, inner, name, args);
        }
        let args = self.all(args)?;
        self.budget.spend(value::size(&this) + args.iter().map(value::size).sum::<u64>())?;
        match self.scope.call(&this, name, &args) {
            Some(out) => out,
            None => library(name, None, Some(&this), &args),
        }
    }

    fn of_optional(&mut self, this: &Value, inner: Option<&Value>, name: &str, args: &[IdedExpr]) -> Result<Value, EvalError> {
        match (name, inner, args) {
            ("hasValue", inner, []) => Ok(Value::Bool(inner.is_some())),
            ("value", Some(v), []) => Ok(v.clone()),
            ("value", None, []) => Err(EvalError::Other("optional.none() dereference".into())),
            ("orValue", Some(v), [_]) => Ok(v.clone()),
            ("or", Some(_), [_]) => Ok(this.clone()),
            ("orValue" | "or", None, [other]) => self.run(other),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn inner(&mut self, bound: Vec<(&str, Value)>, e: &IdedExpr) -> Result<Value, EvalError> {
        let scope = Inner { outer: self.scope, bound };
        Evaluation { scope: &scope, budget: self.budget }.run(e)
    }

    fn bind(&mut self, c: &CallExpr) -> Result<Value, EvalError> {
        let Some((name, value, body)) = binding(c) else { return Err(EvalError::NoSuchOverload) };
        let value = self.run(value)?;
        self.inner(vec![(name, value)], body)
    }

    fn comprehension(&mut self, c: &ComprehensionExpr) -> Result<Value, EvalError> {
        let items = pairs(&self.run(&c.iter_range)?)?;
        let mut accu = self.run(&c.accu_init)?;
        for (key, item) in items {
            self.budget.spend(1)?;
            let held = self.inner(vec![(&c.accu_var, accu.clone())], &c.loop_cond)?;
            if matches!(held, Value::Bool(false)) {
                break;
            }
            let variables = match &c.iter_var2 {
                Some(second) => vec![(c.iter_var.as_str(), key), (second.as_str(), item.unwrap_or(Value::Null))],
                None => vec![(c.iter_var.as_str(), key)],
            };
            accu = self.inner([variables, vec![(c.accu_var.as_str(), accu)]].concat(), &c.loop_step)?;
        }
        self.inner(vec![(&c.accu_var, accu)], &c.result)
    }

    /// `optMap`, `optFlatMap`, and the macros over two variables.
    fn macro_call(&mut self, c: &CallExpr) -> Result<Value, EvalError> {
        let Some(target) = &c.target else { return Err(EvalError::NoSuchOverload) };
        let names: Vec<&str> = c.args.iter().take(binds(c)).filter_map(|a| if let Expr::Ident(n) = &a.expr { Some(n.as_str()) } else { None }).collect();
        let over = self.run(target)?;
        if let ([name], [_, body]) = (&names[..], &c.args[..]) {
            let Some(inner) = value::optional(&over) else { return Err(EvalError::NoSuchOverload) };
            let Some(v) = inner else { return Ok(over) };
            let out = self.inner(vec![(name, v.clone())], body)?;
            return Ok(if c.func_name == "optMap" { value::optional_of(Some(out)) } else { out });
        }
        let [first, second] = names[..] else { return Err(EvalError::NoSuchOverload) };
        self.over_pairs(c, [first, second], &over)
    }

    fn over_pairs(&mut self, c: &CallExpr, names: [&str; 2], over: &Value) -> Result<Value, EvalError> {
        let is_list = matches!(over, Value::List(_));
        let (filter, body) = match &c.args[2..] {
            [body] => (None, body),
            [filter, body] => (Some(filter), body),
            _ => return Err(EvalError::NoSuchOverload),
        };
        let (mut kept, mut failed, mut hits) = (Vec::new(), None, 0);
        for (i, (key, item)) in pairs(over)?.into_iter().enumerate() {
            self.budget.spend(1)?;
            let (a, b) = if is_list { (Value::Int(i as i64), item.unwrap_or(key)) } else { (key, item.unwrap_or(Value::Null)) };
            let bound = || vec![(names[0], a.clone()), (names[1], b.clone())];
            if let Some(f) = filter
                && !matches!(self.inner(bound(), f)?, Value::Bool(true))
            {
                continue;
            }
            match (c.func_name.as_str(), self.inner(bound(), body)) {
                (_, Err(EvalError::OutOfBudget)) => return Err(EvalError::OutOfBudget),
                ("all", Ok(Value::Bool(false))) => return Ok(Value::Bool(false)),
                ("exists", Ok(Value::Bool(true))) => return Ok(Value::Bool(true)),
                ("all" | "exists", Err(e)) => failed = Some(e),
                (_, Err(e)) => return Err(e),
                ("existsOne" | "exists_one", Ok(v)) => hits += i64::from(matches!(v, Value::Bool(true))),
                (_, Ok(v)) => kept.push((a, v)),
            }
        }
        match (c.func_name.as_str(), failed) {
            (_, Some(e)) => Err(e),
            ("all", _) => Ok(Value::Bool(true)),
            ("exists", _) => Ok(Value::Bool(false)),
            ("transformList", _) => Ok(Value::List(Arc::new(kept.into_iter().map(|(_, v)| v).collect()))),
            ("transformMap", _) => Ok(value::map(kept.into_iter().filter_map(|(k, v)| Some((value::key(&k)?, v))).collect())),
            _ => Ok(Value::Bool(hits == 1)),
        }
    }
}

/// Of a list its items alone, of a map its keys with their values.
fn pairs(v: &Value) -> Result<Vec<(Value, Option<Value>)>, EvalError> {
    match v {
        Value::List(l) => Ok(l.iter().map(|v| (v.clone(), None)).collect()),
        Value::Map(m) => {
            let mut all: Vec<_> = m.map.iter().collect();
            all.sort_by(|a, b| a.0.cmp(b.0));
            Ok(all.into_iter().map(|(k, v)| (value::of_key(k), Some(v.clone()))).collect())
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn index(v: &Value, key: &Value) -> Result<Value, EvalError> {
    if value::optional(v).is_some() {
        return optional_member(v, key);
    }
    operators::member(v, key)?.ok_or_else(|| match (v, key) {
        (Value::List(_), Value::Int(i)) => EvalError::Other(format!("index out of bounds: {i}")),
        (_, Value::String(s)) => EvalError::NoSuchKey(s.to_string()),
        (_, key) => EvalError::NoSuchKey(format!("{key:?}")),
    })
}

fn optional_member(v: &Value, key: &Value) -> Result<Value, EvalError> {
    let v = match value::optional(v) {
        Some(Some(inner)) => inner,
        Some(None) => return Ok(value::optional_of(None)),
        None => v,
    };
    Ok(value::optional_of(operators::member(v, key)?))
}

/// What a function of one argument, such as `timestamp` or `duration`, makes of a value.
pub fn convert(name: &str, v: Value) -> Result<Value, EvalError> {
    library(name, None, None, &[v])
}

/// Library functions get their arguments as variables of a scope of their own.
pub(crate) fn library(name: &str, prefix: Option<&str>, this: Option<&Value>, args: &[Value]) -> Result<Value, EvalError> {
    static LIBRARY: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());
    const NAMES: [&str; 9] = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8"];
    let ident = |n: &str| IdedExpr { id: 0, expr: Expr::Ident(n.to_owned()) };
    if args.len() > NAMES.len() {
        return Err(EvalError::NoSuchOverload);
    }
    let mut scope = LIBRARY.new_inner_scope();
    for (n, v) in NAMES.iter().zip(args) {
        scope.add_variable_from_value(*n, v.clone());
    }
    let target = match (prefix, this) {
        (Some(p), _) => Some(Box::new(ident(p))),
        (None, Some(v)) => {
            scope.add_variable_from_value("this", v.clone());
            Some(Box::new(ident("this")))
        }
        (None, None) => None,
    };
    let args = NAMES.iter().take(args.len()).map(|n| ident(n)).collect();
    let call = IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target, args }) };
    scope.resolve(&call).map_err(|e| match e {
        ExecutionError::UndeclaredReference(n) => EvalError::Undeclared(n.to_string()),
        ExecutionError::FunctionError { message, .. } => EvalError::Other(message),
        ExecutionError::NoSuchOverload => EvalError::NoSuchOverload,
        other => EvalError::Other(other.to_string()),
    })
}

#[cfg(test)]
mod tests;
