//! Parsing, with limits: length, nesting, and a stack of its own.
use crate::counts;
use crate::{Budget, EvalError, Scope, Value, evaluate::Evaluation};
use kube_cel::cel::{
    IdedExpr,
    common::{
        ast::{EntryExpr, Expr, LiteralValue},
        types::CelString,
    },
    parser::Parser,
};
use std::{collections::BTreeSet, thread, time::Instant};
use thiserror::Error;

/// Upstream's parser has the same limit, in code points.
const LENGTH: usize = 100_000;
const DEPTH: usize = 250;
/// Deeply nested input must not end the process: the parser recurses many frames a level.
const STACK: usize = 256 << 20;

/// What is wrong with an expression, as cel-go words it.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{0}")]
pub struct CompileError(pub String);

/// A parsed expression.
#[derive(Debug)]
pub struct Program {
    expression: IdedExpr,
}

impl Program {
    pub fn compile(source: &str) -> Result<Self, CompileError> {
        let begun = Instant::now();
        let compiled = Self::parsed(source);
        counts::COMPILED.observe(begun.elapsed().as_secs_f64());
        compiled
    }

    fn parsed(source: &str) -> Result<Self, CompileError> {
        if source.chars().count() > LENGTH {
            return Err(CompileError(format!(
                "ERROR: <input>:-1:0: expression code point size exceeds limit: size: {}, limit {LENGTH}",
                source.chars().count()
            )));
        }
        let text = source.to_owned();
        let parser = thread::Builder::new().name("cel".into()).stack_size(STACK).spawn(move || parse(&text));
        let parsed = parser.map_err(|e| CompileError(format!("start a parser: {e}")))?.join();
        let expression = parsed.map_err(|_| CompileError("ERROR: <input>:1:1: Syntax error: the expression cannot be parsed".into()))??;
        Ok(Self { expression })
    }

    /// Compiles, and refuses names that are neither `variables` nor bound in the expression.
    pub fn compile_with(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let program = Self::compile(source)?;
        let free = program.free_names();
        match free.iter().find(|n| !variables.contains(&n.as_str())) {
            Some(name) => Err(CompileError(undeclared(source, name))),
            None => Ok(program),
        }
    }

    /// Names of typed literals follow the fields that they stand in: `Object{spec: Object.spec{}}`. The error is
    /// upstream's text about the first that does not.
    pub fn check_objects(&self) -> Result<(), String> {
        objects(&self.expression)
    }

    /// Refuses members of `variable` that are none of `known`, by the first that is named.
    pub fn check_members(&self, source: &str, variable: &str, known: &[&str]) -> Result<(), CompileError> {
        match member(&self.expression, variable, known) {
            Some(name) => Err(CompileError(placed(source, &format!("undefined field '{name}'"), &format!("{variable}.{name}"), variable.chars().count()))),
            None => Ok(()),
        }
    }

    pub fn evaluate(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<Value, EvalError> {
        let begun = Instant::now();
        let value = Evaluation { scope, budget }.run(&self.expression);
        counts::EVALUATED.observe(begun.elapsed().as_secs_f64());
        value
    }

    /// Every literal text in it.
    pub fn texts(&self) -> BTreeSet<String> {
        fn walk(e: &IdedExpr, found: &mut BTreeSet<String>) {
            if let Expr::Literal(LiteralValue::String(s)) = &e.expr {
                found.insert(CelString::inner(s).to_owned());
            }
            children(&e.expr).into_iter().for_each(|c| walk(c, found));
        }
        let mut found = BTreeSet::new();
        walk(&self.expression, &mut found);
        found
    }

    pub(crate) fn expression(&self) -> &IdedExpr {
        &self.expression
    }

    /// Variables that the scope must have.
    pub fn free_names(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        free(&self.expression, &mut Vec::new(), &mut found);
        found
    }
}

fn parse(source: &str) -> Result<IdedExpr, CompileError> {
    let parsed = Parser::default().enable_optional_syntax(true).parse(source);
    let told = |e: String| if source.is_empty() { e.replacen("<input>:1:1:", "<input>:1:0:", 1) } else { e };
    let expression = parsed.map_err(|e| CompileError(told(e.to_string().trim_end().replace("\n|", "\n |"))))?;
    if depth(&expression, 0) > DEPTH {
        return Err(CompileError(format!("ERROR: <input>:-1:0: expression recursion limit exceeded: {DEPTH}")));
    }
    Ok(expression)
}

fn children(e: &Expr) -> Vec<&IdedExpr> {
    match e {
        Expr::Call(c) => c.target.iter().map(|t| &**t).chain(&c.args).collect(),
        Expr::Select(s) => vec![&s.operand],
        Expr::List(l) => l.elements.iter().collect(),
        Expr::Map(m) => m.entries.iter().flat_map(|e| entry(&e.expr)).collect(),
        Expr::Struct(s) => s.entries.iter().flat_map(|e| entry(&e.expr)).collect(),
        Expr::Comprehension(c) => vec![&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn entry(e: &EntryExpr) -> Vec<&IdedExpr> {
    match e {
        EntryExpr::StructField(f) => vec![&f.value],
        EntryExpr::MapEntry(m) => vec![&m.key, &m.value],
    }
}

fn objects(e: &IdedExpr) -> Result<(), String> {
    if let Expr::Struct(s) = &e.expr
        && (s.type_name == "Object" || s.type_name.starts_with("Object."))
    {
        for part in &s.entries {
            let EntryExpr::StructField(f) = &part.expr else { continue };
            let expected = format!("{}.{}", s.type_name, f.field);
            let items = if let Expr::List(l) = &f.value.expr { l.elements.iter().collect() } else { vec![&f.value] };
            for item in items {
                if let Expr::Struct(inner) = &item.expr
                    && inner.type_name != expected
                {
                    return Err(format!(
                        "unexpected type name {:?}, expected {expected:?}, which matches field name path from root Object type",
                        inner.type_name
                    ));
                }
            }
        }
    }
    children(&e.expr).into_iter().try_for_each(objects)
}

/// The first member of `variable` that is none of `known`.
fn member<'a>(e: &'a IdedExpr, variable: &str, known: &[&str]) -> Option<&'a str> {
    match &e.expr {
        Expr::Select(s) if matches!(&s.operand.expr, Expr::Ident(n) if n == variable) => Some(s.field.as_str()).filter(|f| !known.contains(f)),
        other => children(other).into_iter().find_map(|c| member(c, variable, known)),
    }
}

fn depth(e: &IdedExpr, above: usize) -> usize {
    if above > DEPTH {
        return above;
    }
    children(&e.expr).into_iter().map(|c| depth(c, above + 1)).max().unwrap_or(above + 1)
}

fn free(e: &IdedExpr, bound: &mut Vec<String>, found: &mut BTreeSet<String>) {
    match &e.expr {
        Expr::Ident(name) => {
            if !bound.contains(name) && !crate::value::is_type_name(name) {
                found.insert(name.clone());
            }
        }
        Expr::Comprehension(c) => {
            free(&c.iter_range, bound, found);
            free(&c.accu_init, bound, found);
            let before = bound.len();
            bound.push(c.accu_var.clone());
            bound.push(c.iter_var.clone());
            bound.extend(c.iter_var2.clone());
            for part in [&c.loop_cond, &c.loop_step, &c.result] {
                free(part, bound, found);
            }
            bound.truncate(before);
        }
        Expr::Call(c) if crate::evaluate::binds(c) > 0 => {
            let variables = crate::evaluate::binds(c);
            c.target.iter().for_each(|t| free(t, bound, found));
            let before = bound.len();
            bound.extend(c.args.iter().take(variables).filter_map(|a| if let Expr::Ident(n) = &a.expr { Some(n.clone()) } else { None }));
            c.args.iter().skip(variables).for_each(|a| free(a, bound, found));
            bound.truncate(before);
        }
        Expr::Call(c) if crate::evaluate::binding(c).is_some() => {
            found.insert("cel".to_owned());
            let Some((name, value, body)) = crate::evaluate::binding(c) else { return };
            free(value, bound, found);
            bound.push(name.to_owned());
            free(body, bound, found);
            bound.pop();
        }
        Expr::Call(c) => {
            let library = matches!(c.target.as_deref(), Some(IdedExpr { expr: Expr::Ident(n), .. }) if crate::evaluate::is_library(n));
            c.target.iter().filter(|_| !library).for_each(|t| free(t, bound, found));
            c.args.iter().for_each(|a| free(a, bound, found));
        }
        other => children(other).into_iter().for_each(|c| free(c, bound, found)),
    }
}

/// cel-go's words, with the line and the place in it.
fn undeclared(source: &str, name: &str) -> String {
    placed(source, &format!("undeclared reference to '{name}' (in container '')"), name, 0)
}

/// An error and the first place in the source that reads as `near`, `skip` characters on: the parser keeps no places. A
/// name counts as a whole word, and after a dot only if `near` has it.
pub(crate) fn placed(source: &str, what: &str, near: &str, skip: usize) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let starts_word = near.starts_with(word);
    let found = source.match_indices(near).map(|(i, _)| i).find(|i| {
        let before = source[..*i].chars().next_back();
        let whole = !near.ends_with(word) || !source[i + near.len()..].starts_with(word);
        whole && !(starts_word && before.is_some_and(|c| word(c) || c == '.'))
    });
    let before = &source[..found.filter(|_| !near.is_empty()).unwrap_or(0)];
    let skip = if found.is_some() { skip } else { 0 };
    let (line, column) = (before.matches('\n').count(), before.rsplit('\n').next().unwrap_or_default().chars().count() + skip);
    let text = source.lines().nth(line).unwrap_or_default();
    format!("ERROR: <input>:{}:{}: {what}\n | {text}\n | {}^", line + 1, column + 1, ".".repeat(column))
}
