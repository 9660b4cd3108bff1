//! Types and worst-case cost of an expression, before it is ever evaluated.
//!
//! The types are cel-go's but for what only proto messages have. The cost is an upper bound in the units of upstream's
//! estimator: what a value's largest size (given with its type) makes of each step.
//! <https://kubernetes.io/docs/reference/using-api/cel/#estimated-cost-limits-for-crds>

mod cost;
mod functions;
mod literals;
mod types;

pub use types::{Kind, Object, Type, UNBOUNDED};

use crate::{CompileError, Program, evaluate, program};
use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, operators as op},
};

/// What checking finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub ty: Type,
    /// The most that evaluation may cost.
    pub cost: u64,
}

impl Program {
    /// Checks the expression over typed variables. `source` is what it was compiled from.
    pub fn check(&self, source: &str, variables: &[(&str, Type)]) -> Result<Checked> {
        let scope = variables.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
        Checker { source, scope, formats: false }.node(self.expression())
    }
}

struct Checker<'a> {
    source: &'a str,
    scope: Vec<(String, Type)>,
    /// Within the arguments of `format`, whose list may hold anything.
    formats: bool,
}

type Result<T> = std::result::Result<T, CompileError>;

fn list_cost() -> u64 {
    10
}

impl Checker<'_> {
    fn fail<T>(&self, what: &str, near: &str) -> Result<T> {
        self.fail_at(what, near, 0)
    }

    /// `skip` characters behind where `near` begins.
    fn fail_at<T>(&self, what: &str, near: &str, skip: usize) -> Result<T> {
        let other = near.strip_prefix('\'').map(|n| format!("\"{}\"", n.trim_end_matches('\'')));
        let near = if self.source.contains(near) { near } else { other.as_deref().unwrap_or(near) };
        Err(CompileError(program::placed(self.source, what, near, skip)))
    }

    fn node(&mut self, e: &IdedExpr) -> Result<Checked> {
        match &e.expr {
            Expr::Literal(l) => Ok(Checked { ty: literal(l), cost: 0 }),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(s) => {
                let of = self.node(&s.operand)?;
                self.select(of, &s.field, s.test)
            }
            Expr::Call(c) => self.call(c),
            Expr::List(l) => {
                let (mut item, mut cost) = (None, list_cost());
                for e in &l.elements {
                    let c = self.node(e)?;
                    self.same(item.as_ref(), &c.ty, e)?;
                    cost = cost.saturating_add(c.cost);
                    item = Some(item.map_or(c.ty.clone(), |i: Type| i.join(&c.ty)));
                }
                Ok(Checked { ty: Type::list(item.unwrap_or_else(|| Type::new(Kind::Dyn)), l.elements.len() as u64), cost })
            }
            Expr::Map(m) => self.entries(&m.entries, 30),
            Expr::Struct(s) => self.entries(&s.entries, 40),
            Expr::Comprehension(c) => self.comprehension(c),
            Expr::Unspecified => self.fail("unspecified expression", ""),
        }
    }

    fn ident(&self, name: &str) -> Result<Checked> {
        if let Some((_, ty)) = self.scope.iter().rev().find(|(n, _)| n == name) {
            return Ok(Checked { ty: ty.clone(), cost: 1 });
        }
        if crate::value::is_type_name(name) {
            return Ok(Checked { ty: Type::new(Kind::Type), cost: 1 });
        }
        self.fail(&format!("undeclared reference to '{name}' (in container '')"), name)
    }

    fn select(&self, of: Checked, field: &str, test: bool) -> Result<Checked> {
        let (through, optional) = match &of.ty.kind {
            Kind::Optional(inner) => ((**inner).clone(), true),
            _ => (of.ty.clone(), false),
        };
        let (ty, cost) = match &through.kind {
            Kind::Object(o) => match o.fields.get(field) {
                Some(t) => (t.clone(), 1),
                None if test => return self.fail_at(&format!("undefined field '{field}'"), "has(", 3),
                None => return self.fail(&format!("undefined field '{field}'"), &format!(".{field}")),
            },
            Kind::Map(_, v) => ((**v).clone(), 1),
            Kind::Dyn => (Type::sized(Kind::Dyn, through.max), 0),
            _ => return self.fail(&format!("type '{through}' does not support field selection"), &format!(".{field}")),
        };
        let ty = if test {
            Type::new(Kind::Bool)
        } else if optional {
            Type::optional(ty)
        } else {
            ty
        };
        Ok(Checked { ty, cost: of.cost.saturating_add(if test { 1 } else { cost }) })
    }

    fn entries(&mut self, entries: &[IdedEntryExpr], base: u64) -> Result<Checked> {
        let (mut key, mut value, mut cost) = (None::<Type>, None::<Type>, base);
        for e in entries {
            let (k, v) = match &e.expr {
                EntryExpr::MapEntry(m) => (self.node(&m.key)?, self.node(&m.value)?),
                EntryExpr::StructField(f) => (Checked { ty: Type::new(Kind::String), cost: 0 }, self.node(&f.value)?),
            };
            cost = cost.saturating_add(k.cost).saturating_add(v.cost);
            if let EntryExpr::MapEntry(m) = &e.expr {
                self.same(key.as_ref(), &k.ty, &m.key)?;
                self.same(value.as_ref(), &v.ty, &m.value)?;
            }
            key = Some(key.map_or(k.ty.clone(), |t| t.join(&k.ty)));
            value = Some(value.map_or(v.ty.clone(), |t| t.join(&v.ty)));
        }
        let any = || Type::new(Kind::Dyn);
        let kind = Kind::Map(key.unwrap_or_else(any).into(), value.unwrap_or_else(any).into());
        Ok(Checked { ty: Type::sized(kind, entries.len() as u64), cost })
    }

    fn within(&mut self, names: Vec<(String, Type)>, e: &IdedExpr) -> Result<Checked> {
        let before = self.scope.len();
        self.scope.extend(names);
        let out = self.node(e);
        self.scope.truncate(before);
        out
    }

    fn comprehension(&mut self, c: &ComprehensionExpr) -> Result<Checked> {
        let (range, init) = (self.node(&c.iter_range)?, self.node(&c.accu_init)?);
        let [first, second] = self.iterated(&range.ty)?;
        let variables = match &c.iter_var2 {
            Some(name) => vec![(c.iter_var.clone(), first), (name.clone(), second)],
            None => vec![(c.iter_var.clone(), if matches!(range.ty.kind, Kind::List(_)) { second } else { first })],
        };
        // What is gathered has the type of what the step makes of it.
        let mut accu = init.ty.clone();
        let inside = |accu: &Type| [variables.clone(), vec![(c.accu_var.clone(), accu.clone())]].concat();
        let step = self.within(inside(&accu), &c.loop_step)?;
        accu = match &step.ty.kind {
            Kind::List(_) | Kind::Map(..) => Type::sized(step.ty.kind.clone(), range.ty.max),
            _ => step.ty.join(&accu),
        };
        let cond = self.within(inside(&accu), &c.loop_cond)?;
        let result = self.within(vec![(c.accu_var.clone(), accu)], &c.result)?;
        let each = step.cost.saturating_add(cond.cost);
        let cost = [init.cost, result.cost, range.ty.max.saturating_mul(each)].into_iter().fold(range.cost, u64::saturating_add);
        Ok(Checked { ty: result.ty, cost })
    }

    /// The types of keys (or indices) and values.
    fn iterated(&self, range: &Type) -> Result<[Type; 2]> {
        Ok(match &range.kind {
            Kind::List(item) => [Type::new(Kind::Int), (**item).clone()],
            Kind::Map(k, v) => [(**k).clone(), (**v).clone()],
            Kind::Dyn => [Type::sized(Kind::Dyn, range.max), Type::sized(Kind::Dyn, range.max)],
            _ => return self.fail(&format!("expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"), ""),
        })
    }

    fn all(&mut self, args: &[IdedExpr]) -> Result<(Vec<Type>, u64)> {
        let mut types = Vec::new();
        let mut cost: u64 = 0;
        for a in args {
            let c = self.node(a)?;
            cost = cost.saturating_add(c.cost);
            types.push(c.ty);
        }
        Ok((types, cost))
    }

    fn call(&mut self, c: &CallExpr) -> Result<Checked> {
        if evaluate::binds(c) > 0 {
            return self.bound(c);
        }
        if let Some((name, value, body)) = evaluate::binding(c).filter(|_| self.scope.iter().any(|(n, _)| n == "cel")) {
            let value = self.node(value)?;
            let body = self.within(vec![(name.to_owned(), value.ty)], body)?;
            // As a fold over an empty list, which upstream makes of it.
            let cost = value.cost.saturating_add(body.cost).saturating_add(list_cost());
            return Ok(Checked { ty: body.ty, cost });
        }
        if c.target.is_none() && (c.func_name.starts_with(['_', '!', '-', '@'])) {
            if let (op::OPT_SELECT, [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }]) = (c.func_name.as_str(), &c.args[..]) {
                let of = self.node(of)?;
                return self.chosen(of, field.inner());
            }
            let (types, cost) = self.all(&c.args)?;
            if c.func_name == op::CONDITIONAL {
                return self.conditional(c, types);
            }
            if matches!(c.func_name.as_str(), op::LOGICAL_AND | op::LOGICAL_OR)
                && let Some((t, e)) = types.iter().zip(&c.args).find(|(t, _)| !t.fits(&Type::new(Kind::Bool)))
            {
                return self.fail(&format!("expected type 'bool' but found '{t}'"), &literals::near(e));
            }
            let Some((ty, own)) = cost::operator(&c.func_name, &types) else { return self.mismatch(&c.func_name, None, &types) };
            return Ok(Checked { ty, cost: cost.saturating_add(own) });
        }
        let library = match c.target.as_deref() {
            Some(IdedExpr { expr: Expr::Ident(n), .. }) if evaluate::is_library(n) && !self.scope.iter().any(|(s, _)| s == n) => {
                Some(format!("{n}.{}", c.func_name))
            }
            _ => None,
        };
        let (mut target, mut cost) = (None, 0);
        if let (Some(t), None) = (&c.target, &library) {
            let checked = self.node(t)?;
            (target, cost) = (Some(checked.ty), checked.cost);
        }
        let outside = self.formats;
        self.formats |= c.func_name == "format" && c.target.is_some();
        let checked = self.all(&c.args);
        self.formats = outside;
        let (types, args) = checked?;
        let name = library.unwrap_or_else(|| c.func_name.clone());
        if !functions::exists(&name) {
            return self.undeclared(c, &name);
        }
        literals::check(c).or_else(|(what, near)| self.fail(what, &near))?;
        let Some(ty) = functions::result(&name, target.as_ref(), &types) else { return self.mismatch(&name, target.as_ref(), &types) };
        let (own, max) = cost::function(&name, target.as_ref(), &types, &ty);
        Ok(Checked { ty: Type::sized(ty.kind, max), cost: cost.saturating_add(args).saturating_add(own) })
    }

    /// Only one branch is taken.
    fn conditional(&mut self, c: &CallExpr, types: Vec<Type>) -> Result<Checked> {
        let [test, yes, no] = &types[..] else { return self.mismatch(&c.func_name, None, &types) };
        if !test.fits(&Type::new(Kind::Bool)) || !yes.fits(no) {
            return self.mismatch(&c.func_name, None, &types);
        }
        let costs = c.args.iter().map(|a| self.node(a).map(|c| c.cost)).collect::<Result<Vec<_>>>()?;
        let cost = costs[0].saturating_add(costs[1].max(costs[2]));
        Ok(Checked { ty: yes.join(no), cost })
    }

    /// `optMap` and the macros over two variables, which the parser leaves alone.
    fn bound(&mut self, c: &CallExpr) -> Result<Checked> {
        let Some(target) = &c.target else { return self.fail("no target", &c.func_name) };
        let over = self.node(target)?;
        let count = evaluate::binds(c);
        let names: Vec<String> = c.args.iter().take(count).filter_map(|a| if let Expr::Ident(n) = &a.expr { Some(n.clone()) } else { None }).collect();
        let bodies = &c.args[count..];
        if count == 1 {
            let inner = match &over.ty.kind {
                Kind::Optional(t) => (**t).clone(),
                Kind::Dyn => over.ty.clone(),
                _ => return self.mismatch(&c.func_name, Some(&over.ty), &[]),
            };
            let bound = names.into_iter().map(|n| (n, inner.clone())).collect();
            let Some(last) = bodies.last() else { return self.mismatch(&c.func_name, Some(&over.ty), &[]) };
            let body = self.within(bound, last)?;
            let ty = if c.func_name == "optMap" { Type::optional(body.ty) } else { body.ty };
            return Ok(Checked { ty, cost: over.cost.saturating_add(body.cost).saturating_add(2) });
        }
        let kinds = self.iterated(&over.ty)?;
        let (mut last, mut each) = (Type::new(Kind::Dyn), 3u64);
        for body in bodies {
            let bound = names.iter().cloned().zip(kinds.clone()).collect();
            let checked = self.within(bound, body)?;
            each = each.saturating_add(checked.cost);
            last = checked.ty;
        }
        let ty = match c.func_name.as_str() {
            "transformList" => Type::list(last, over.ty.max),
            "transformMap" => Type::sized(Kind::Map(kinds[0].clone().into(), last.into()), over.ty.max),
            _ => Type::new(Kind::Bool),
        };
        Ok(Checked { ty, cost: over.cost.saturating_add(over.ty.max.saturating_mul(each)) })
    }

    fn mismatch<T>(&self, name: &str, target: Option<&Type>, args: &[Type]) -> Result<T> {
        let args: Vec<String> = args.iter().map(Type::to_string).collect();
        let applied = match target {
            Some(t) => format!("{t}.({})", args.join(", ")),
            None => format!("({})", args.join(", ")),
        };
        let what = format!("found no matching overload for '{name}' applied to '{applied}'");
        match name {
            op::INDEX | op::OPT_INDEX => self.fail(&what, "["),
            op::CONDITIONAL => self.fail(&what, "?"),
            n if n.starts_with(['_', '@', '!', '-']) => self.fail(&what, n.trim_matches(['_', '@'])),
            n => {
                let own = n.rsplit('.').next().unwrap_or(n);
                let dot = if target.is_some() || n.contains('.') { "." } else { "" };
                self.fail_at(&what, &format!("{dot}{own}("), dot.len() + own.chars().count())
            }
        }
    }

    /// A function that nobody declared; of a library that is none, its name comes first.
    fn undeclared<T>(&self, c: &CallExpr, name: &str) -> Result<T> {
        let what = |n: &str| format!("undeclared reference to '{n}' (in container '')");
        let own = &c.func_name;
        let dot = if c.target.is_some() { "." } else { "" };
        let call = program::placed(self.source, &what(own), &format!("{dot}{own}("), dot.len() + own.chars().count());
        Err(CompileError(match name.split_once('.') {
            Some((library, _)) => format!("{}\n{call}", program::placed(self.source, &what(library), library, 0)),
            None => call,
        }))
    }

    /// Items of a literal are all of one type.
    fn same(&self, first: Option<&Type>, ty: &Type, e: &IdedExpr) -> Result<()> {
        match first {
            Some(first) if !self.formats && (!first.fits(ty) || first.is_dyn() != ty.is_dyn()) => {
                self.fail(&format!("expected type '{first}' but found '{ty}'"), &literals::near(e))
            }
            _ => Ok(()),
        }
    }

    /// A field that may be absent.
    fn chosen(&self, of: Checked, field: &str) -> Result<Checked> {
        let of = Checked { ty: if let Kind::Optional(inner) = &of.ty.kind { (**inner).clone() } else { of.ty }, ..of };
        let found = match &of.ty.kind {
            Kind::Object(o) if !o.fields.contains_key(field) => return self.fail(&format!("undefined field '{field}'"), &format!(".?{field}")),
            Kind::Object(_) | Kind::Map(..) | Kind::Dyn => self.select(of, field, false)?,
            _ => return self.fail(&format!("type '{}' does not support field selection", of.ty), &format!(".?{field}")),
        };
        Ok(Checked { ty: Type::optional(found.ty), cost: found.cost })
    }
}

fn literal(l: &LiteralValue) -> Type {
    match l {
        LiteralValue::Boolean(_) => Type::new(Kind::Bool),
        LiteralValue::Bytes(b) => Type::sized(Kind::Bytes, b.inner().len() as u64),
        LiteralValue::Double(_) => Type::new(Kind::Double),
        LiteralValue::Int(_) => Type::new(Kind::Int),
        LiteralValue::Null => Type::new(Kind::Null),
        LiteralValue::String(s) => Type::sized(Kind::String, s.inner().len() as u64),
        LiteralValue::UInt(_) => Type::new(Kind::Uint),
    }
}

#[cfg(test)]
mod tests;
