//! Types and costs of operators, and costs of functions.
use super::types::{Kind, Type};
use kube_cel::cel::common::ast::operators as op;

/// A part of a size, rounded up; what is unbounded stays so.
fn part(size: u64, tenths: u64) -> u64 {
    if size == u64::MAX { size } else { (u128::from(size) * u128::from(tenths)).div_ceil(10).min(u128::from(u64::MAX)) as u64 }
}

fn boolean() -> Type {
    Type::new(Kind::Bool)
}

/// What an operator gives and costs beside its arguments; None: no overload fits.
pub(super) fn operator(name: &str, args: &[Type]) -> Option<(Type, u64)> {
    match (name, args) {
        (op::LOGICAL_AND | op::LOGICAL_OR, [a, b]) => (a.fits(&boolean()) && b.fits(&boolean())).then(|| (boolean(), 0)),
        (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [a]) => a.fits(&boolean()).then(|| (boolean(), 1)),
        (op::EQUALS | op::NOT_EQUALS, [a, b]) => a.fits(b).then(|| (boolean(), part(a.max.min(b.max), 1))),
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b]) => ordered(a, b).then(|| (boolean(), part(a.max.min(b.max), 1))),
        (op::IN, [v, c]) => contains(v, c),
        (op::NEGATE, [a]) => matches!(a.kind, Kind::Int | Kind::Double | Kind::Duration | Kind::Dyn).then(|| (a.clone(), 1)),
        (op::INDEX, [c, k]) => indexed(c, k).map(|t| (t, 1)),
        (op::OPT_INDEX, [c, k]) => indexed(inner(c), k).map(|t| (Type::optional(t), 1)),
        (op::ADD, [a, b]) => add(a, b),
        (op::SUBSTRACT, [a, b]) => subtract(a, b).map(|t| (t, 1)),
        (op::MULTIPLY | op::DIVIDE, [a, b]) => numbers(a, b, &[Kind::Int, Kind::Uint, Kind::Double]).map(|t| (t, 1)),
        (op::MODULO, [a, b]) => numbers(a, b, &[Kind::Int, Kind::Uint]).map(|t| (t, 1)),
        _ => None,
    }
}

fn inner(t: &Type) -> &Type {
    match &t.kind {
        Kind::Optional(inner) => inner,
        _ => t,
    }
}

fn numeric(t: &Type) -> bool {
    matches!(t.kind, Kind::Int | Kind::Uint | Kind::Double)
}

fn ordered(a: &Type, b: &Type) -> bool {
    let has_order = |t: &Type| numeric(t) || matches!(t.kind, Kind::Dyn | Kind::Bool | Kind::String | Kind::Bytes | Kind::Timestamp | Kind::Duration);
    has_order(a) && has_order(b) && ((numeric(a) && numeric(b)) || a.fits(b))
}

fn contains(v: &Type, c: &Type) -> Option<(Type, u64)> {
    match &c.kind {
        Kind::List(item) => v.fits(item).then(|| (boolean(), c.max)),
        Kind::Map(key, _) => v.fits(key).then(|| (boolean(), 1)),
        Kind::Dyn => Some((boolean(), c.max)),
        _ => None,
    }
}

fn indexed(c: &Type, k: &Type) -> Option<Type> {
    match &c.kind {
        Kind::List(item) => (numeric(k) || k.is_dyn()).then(|| (**item).clone()),
        Kind::Map(key, value) => k.fits(key).then(|| (**value).clone()),
        Kind::Dyn => Some(Type::sized(Kind::Dyn, c.max)),
        _ => None,
    }
}

fn add(a: &Type, b: &Type) -> Option<(Type, u64)> {
    let together = a.max.saturating_add(b.max);
    match (&a.kind, &b.kind) {
        (Kind::Dyn, _) | (_, Kind::Dyn) => Some((Type::sized(Kind::Dyn, together), part(together, 1))),
        (Kind::String, Kind::String) | (Kind::Bytes, Kind::Bytes) => Some((Type::sized(a.kind.clone(), together), part(together, 1))),
        (Kind::List(x), Kind::List(y)) => x.fits(y).then(|| (Type::list(x.join(y), together), 1)),
        (Kind::Timestamp, Kind::Duration) | (Kind::Duration, Kind::Timestamp) => Some((Type::new(Kind::Timestamp), 1)),
        (Kind::Duration, Kind::Duration) => Some((Type::new(Kind::Duration), 1)),
        _ => numbers(a, b, &[Kind::Int, Kind::Uint, Kind::Double]).map(|t| (t, 1)),
    }
}

fn subtract(a: &Type, b: &Type) -> Option<Type> {
    match (&a.kind, &b.kind) {
        (Kind::Timestamp, Kind::Timestamp) | (Kind::Duration, Kind::Duration) => Some(Type::new(Kind::Duration)),
        (Kind::Timestamp, Kind::Duration) => Some(Type::new(Kind::Timestamp)),
        _ => numbers(a, b, &[Kind::Int, Kind::Uint, Kind::Double]),
    }
}

fn numbers(a: &Type, b: &Type, allowed: &[Kind]) -> Option<Type> {
    let may = |t: &Type| t.is_dyn() || allowed.contains(&t.kind);
    (may(a) && may(b) && a.fits(b)).then(|| Type::new(if a.is_dyn() { b.kind.clone() } else { a.kind.clone() }))
}

/// What a function costs, and how large its result may be.
pub(super) fn function(name: &str, target: Option<&Type>, args: &[Type], result: &Type) -> (u64, u64) {
    let size = target.or(args.first()).map_or(1, |t| t.max);
    let arg = args.first().map_or(1, |t| t.max);
    let plain = |cost| (cost, result.max);
    match name {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => plain(match target.map(|t| &t.kind) {
            Some(Kind::List(item)) if matches!(item.kind, Kind::String | Kind::Bytes) => size.saturating_mul(part(item.max, 1).saturating_add(1)),
            Some(Kind::String) => part(size, 1),
            _ => size,
        }),
        "lowerAscii" | "upperAscii" | "substring" | "trim" => (part(size, 1), size),
        "charAt" => (1, 4),
        "url" | "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" | "isURL" => plain(part(size, 1)),
        "ip" => plain(if target.is_some() { 1 } else { part(size, 1) }),
        "ip.isCanonical" => plain(part(size, 2)),
        "replace" => (part(size, 2), size.saturating_add(1).saturating_mul(args.get(1).map_or(1, |t| t.max).max(1))),
        "split" => (part(size, 2), size),
        "join" => {
            let item = match target.map(|t| &t.kind) {
                Some(Kind::List(item)) => item.max,
                _ => 1,
            };
            let joined = size.saturating_mul(item.saturating_add(if args.is_empty() { 0 } else { arg }));
            (part(joined, 1), joined)
        }
        "find" | "findAll" => (part(size.saturating_add(1), 1).saturating_mul(quarter(arg)), size),
        "matches" => {
            let pattern = if target.is_some() { arg } else { args.get(1).map_or(1, |t| t.max) };
            plain(part(size.saturating_add(1), 1).saturating_mul(quarter(pattern)))
        }
        "contains" => plain(part(size, 1).saturating_mul(part(arg, 1))),
        "startsWith" | "endsWith" => plain(part(arg, 1)),
        "containsIP" => plain(4 + part(arg, 1)),
        "containsCIDR" => plain(8 + part(arg, 1)),
        "validate" => plain(part(arg, 1).saturating_mul(32)),
        "sets.contains" | "sets.equivalent" | "sets.intersects" => plain(arg.saturating_mul(args.get(1).map_or(1, |t| t.max)).saturating_mul(2)),
        "bytes" => (part(size, 1), size.saturating_mul(4)),
        "string" | "quote" | "strings.quote" | "format" => (part(size, 1), if name == "string" { size.max(32) } else { u64::MAX }),
        "distinct" => (size.saturating_mul(size), size),
        "sort" | "reverse" | "slice" | "flatten" => (size, size),
        "orValue" | "value" | "or" => plain(1),
        _ => plain(1),
    }
}

/// Regular expressions cost by their length.
fn quarter(size: u64) -> u64 {
    if size == u64::MAX { size } else { size.div_ceil(4) }
}
