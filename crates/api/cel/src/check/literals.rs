//! Literals that a function cannot read: told when an expression is compiled, not when it is evaluated.
use crate::{Value, evaluate};
use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue},
};

/// The error is what is wrong and what stands there.
pub(super) fn check(c: &CallExpr) -> Result<(), (&'static str, String)> {
    let (what, argument) = match (c.func_name.as_str(), c.target.is_some(), &c.args[..]) {
        ("duration", false, [a]) => ("invalid duration argument", a),
        ("timestamp", false, [a]) => ("invalid timestamp argument", a),
        ("matches", true, [a]) | ("matches", false, [_, a]) => ("invalid matches argument", a),
        _ => return Ok(()),
    };
    let Expr::Literal(LiteralValue::String(text)) = &argument.expr else { return Ok(()) };
    let value = Value::String(text.inner().to_owned().into());
    let read = match c.func_name.as_str() {
        "matches" => evaluate::library("matches", None, Some(&Value::String(String::new().into())), &[value]),
        conversion => evaluate::convert(conversion, value),
    };
    read.map(drop).map_err(|_| (what, near(argument)))
}

/// How a part of an expression begins in the source, as far as it can be told.
pub(super) fn near(e: &IdedExpr) -> String {
    match &e.expr {
        Expr::Ident(n) => n.clone(),
        Expr::Select(s) => format!(".{}", s.field),
        Expr::Literal(LiteralValue::String(s)) => quoted(s.inner()),
        Expr::Literal(LiteralValue::Int(i)) => i.inner().to_string(),
        Expr::Literal(LiteralValue::Boolean(b)) => b.inner().to_string(),
        Expr::Call(c) if c.target.is_some() => format!(".{}(", c.func_name),
        Expr::Call(c) => format!("{}(", c.func_name),
        _ => String::new(),
    }
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}
