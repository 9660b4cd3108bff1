//! The functions that expressions may call: what they take and give.
//!
//! A signature is written `target.args:result`. Letters are types: `s` string, `i` int, `u` uint, `d` double, `b` bool,
//! `y` bytes, `t` timestamp, `D` duration, `T` a type, `*` anything, `A` any one type (the same in a signature), `[x]` a
//! list, `{A}` a map of strings; `Q` a quantity, `I` an IP, `C` a CIDR, `U` a URL, `F` a format, `V` a semver.
use super::types::{Kind, Type};
use std::sync::Arc;

const TABLE: &[(&str, &[&str])] = &[
    ("size", &["s:i", "y:i", "[A]:i", "{A}:i", "s.:i", "y.:i", "[A].:i", "{A}.:i"]),
    ("int", &["i:i", "u:i", "d:i", "s:i", "t:i"]),
    ("uint", &["i:u", "u:u", "d:u", "s:u"]),
    ("double", &["i:d", "u:d", "d:d", "s:d"]),
    ("string", &["s:s", "i:s", "u:s", "d:s", "b:s", "y:s", "t:s", "D:s"]),
    ("bytes", &["s:y", "y:y"]),
    ("bool", &["b:b", "s:b"]),
    ("timestamp", &["s:t", "t:t", "i:t"]),
    ("duration", &["s:D", "D:D", "i:D"]),
    ("type", &["*:T"]),
    ("dyn", &["*:*"]),
    ("contains", &["s.s:b", "[A].A:b"]),
    ("startsWith", &["s.s:b"]),
    ("endsWith", &["s.s:b"]),
    ("matches", &["s.s:b", "s,s:b"]),
    ("charAt", &["s.i:s"]),
    ("indexOf", &["s.s:i", "s.s,i:i", "[A].A:i"]),
    ("lastIndexOf", &["s.s:i", "s.s,i:i", "[A].A:i"]),
    ("join", &["[s].:s", "[s].s:s"]),
    ("lowerAscii", &["s.:s"]),
    ("upperAscii", &["s.:s"]),
    ("quote", &["s:s"]),
    ("strings.quote", &["s:s"]),
    ("replace", &["s.s,s:s", "s.s,s,i:s"]),
    ("split", &["s.s:[s]", "s.s,i:[s]"]),
    ("substring", &["s.i:s", "s.i,i:s"]),
    ("trim", &["s.:s"]),
    ("reverse", &["[A].:[A]"]),
    ("format", &["s.[*]:s"]),
    ("find", &["s.s:s"]),
    ("findAll", &["s.s:[s]", "s.s,i:[s]"]),
    ("isSorted", &["[A].:b"]),
    ("sum", &["[A].:A"]),
    ("min", &["[A].:A"]),
    ("max", &["[A].:A"]),
    ("includes", &["[A].A:b", "*.A:b"]),
    ("first", &["[A].:?A"]),
    ("last", &["[A].:?A"]),
    ("flatten", &["[*].:[*]", "[*].i:[*]"]),
    ("distinct", &["[A].:[A]"]),
    ("slice", &["[A].i,i:[A]"]),
    ("sort", &["[A].:[A]"]),
    ("lists.range", &["i:[i]"]),
    ("sets.contains", &["[A],[A]:b"]),
    ("sets.equivalent", &["[A],[A]:b"]),
    ("sets.intersects", &["[A],[A]:b"]),
    ("url", &["s:U"]),
    ("isURL", &["s:b"]),
    ("getScheme", &["U.:s"]),
    ("getHost", &["U.:s"]),
    ("getHostname", &["U.:s"]),
    ("getPort", &["U.:s"]),
    ("getEscapedPath", &["U.:s"]),
    ("getQuery", &["U.:{[s]}"]),
    ("quantity", &["s:Q"]),
    ("isQuantity", &["s:b"]),
    ("sign", &["Q:i"]),
    ("isInteger", &["Q.:b"]),
    ("asInteger", &["Q.:i"]),
    ("asApproximateFloat", &["Q.:d"]),
    ("isGreaterThan", &["Q.Q:b", "V.V:b"]),
    ("isLessThan", &["Q.Q:b", "V.V:b"]),
    ("compareTo", &["Q.Q:i", "V.V:i"]),
    ("add", &["Q.Q:Q", "Q.i:Q"]),
    ("sub", &["Q.Q:Q", "Q.i:Q"]),
    ("ip", &["s:I", "C.:I"]),
    ("isIP", &["s:b"]),
    ("ip.isCanonical", &["s:b"]),
    ("family", &["I.:i"]),
    ("isUnspecified", &["I.:b"]),
    ("isLoopback", &["I.:b"]),
    ("isLinkLocalMulticast", &["I.:b"]),
    ("isLinkLocalUnicast", &["I.:b"]),
    ("isGlobalUnicast", &["I.:b"]),
    ("cidr", &["s:C"]),
    ("isCIDR", &["s:b"]),
    ("containsIP", &["C.s:b", "C.I:b"]),
    ("containsCIDR", &["C.s:b", "C.C:b"]),
    ("prefixLength", &["C.:i"]),
    ("masked", &["C.:C"]),
    ("format.named", &["s:?F"]),
    ("validate", &["F.s:?[s]"]),
    ("semver", &["s:V", "s,b:V"]),
    ("isSemver", &["s:b", "s,b:b"]),
    ("major", &["V.:i"]),
    ("minor", &["V.:i"]),
    ("patch", &["V.:i"]),
    ("getFullYear", &["t.:i", "t.s:i"]),
    ("getMonth", &["t.:i", "t.s:i"]),
    ("getDate", &["t.:i", "t.s:i"]),
    ("getDayOfMonth", &["t.:i", "t.s:i"]),
    ("getDayOfWeek", &["t.:i", "t.s:i"]),
    ("getDayOfYear", &["t.:i", "t.s:i"]),
    ("getHours", &["t.:i", "t.s:i", "D.:i"]),
    ("getMinutes", &["t.:i", "t.s:i", "D.:i"]),
    ("getSeconds", &["t.:i", "t.s:i", "D.:i"]),
    ("getMilliseconds", &["t.:i", "t.s:i", "D.:i"]),
    ("optional.of", &["A:?A"]),
    ("optional.ofNonZeroValue", &["A:?A"]),
    ("optional.none", &[":?*"]),
    ("hasValue", &["?A.:b"]),
    ("value", &["?A.:A"]),
    ("orValue", &["?A.A:A"]),
    ("or", &["?A.?A:?A"]),
];

/// Formats, by their names: `format.dns1123Label()`.
const FORMATS: [&str; 12] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
];

/// Whether there is such a function.
pub(super) fn exists(name: &str) -> bool {
    TABLE.iter().any(|(n, _)| *n == name) || format_of(name)
}
fn format_of(name: &str) -> bool {
    name.strip_prefix("format.").is_some_and(|f| FORMATS.contains(&f) || f == "datetime")
}

/// What a call gives; None: no signature fits.
pub(super) fn result(name: &str, target: Option<&Type>, args: &[Type]) -> Option<Type> {
    if format_of(name) && target.is_none() && args.is_empty() {
        return Some(Type::new(Kind::Opaque("kubernetes.NamedFormat")));
    }
    let (_, signatures) = TABLE.iter().find(|(n, _)| *n == name)?;
    let fitting: Vec<Type> = signatures.iter().filter_map(|s| apply(s, target, args)).collect();
    // Several fit when something is only known later.
    let mut all = fitting.into_iter();
    let first = all.next()?;
    Some(all.fold(first, |a, b| if a.fits(&b) && !a.is_dyn() { a } else { Type::new(Kind::Dyn) }))
}

fn apply(signature: &str, target: Option<&Type>, args: &[Type]) -> Option<Type> {
    let (params, result) = signature.split_once(':')?;
    let (own, params) = match params.split_once('.') {
        Some((t, p)) => (Some(t), p),
        None => (None, params),
    };
    let mut bound = None;
    match (own, target) {
        (Some(p), Some(t)) if matches(p, t, &mut bound) => {}
        (None, None) => {}
        _ => return None,
    }
    let params: Vec<&str> = params.split(',').filter(|p| !p.is_empty()).collect();
    if params.len() != args.len() || !params.iter().zip(args).all(|(p, a)| matches(p, a, &mut bound)) {
        return None;
    }
    Some(made(result, bound.as_ref()))
}

fn simple(p: &str) -> Option<Kind> {
    Some(match p {
        "s" => Kind::String,
        "i" => Kind::Int,
        "u" => Kind::Uint,
        "d" => Kind::Double,
        "b" => Kind::Bool,
        "y" => Kind::Bytes,
        "t" => Kind::Timestamp,
        "D" => Kind::Duration,
        "T" => Kind::Type,
        "Q" => Kind::Opaque("kubernetes.Quantity"),
        "I" => Kind::Opaque("net.IP"),
        "C" => Kind::Opaque("net.CIDR"),
        "U" => Kind::Opaque("kubernetes.URL"),
        "F" => Kind::Opaque("kubernetes.NamedFormat"),
        "V" => Kind::Opaque("kubernetes.Semver"),
        _ => return None,
    })
}

fn inside(p: &str, open: char, close: char) -> Option<&str> {
    p.strip_prefix(open)?.strip_suffix(close)
}

fn matches(p: &str, t: &Type, bound: &mut Option<Type>) -> bool {
    if p == "*" || t.is_dyn() {
        return true;
    }
    if p == "A" {
        let fits = bound.as_ref().is_none_or(|b| b.fits(t));
        *bound = Some(bound.as_ref().map_or_else(|| t.clone(), |b| b.join(t)));
        return fits;
    }
    match (&t.kind, inside(p, '[', ']'), inside(p, '{', '}'), p.strip_prefix('?')) {
        (Kind::List(item), Some(inner), ..) => matches(inner, item, bound),
        (Kind::Map(_, value), _, Some(inner), _) => matches(inner, value, bound),
        (Kind::Optional(inner), .., Some(p)) => matches(p, inner, bound),
        (_, None, None, None) => simple(p).is_some_and(|k| t.fits(&Type::new(k))),
        _ => false,
    }
}

fn made(p: &str, bound: Option<&Type>) -> Type {
    let any = || Type::new(Kind::Dyn);
    if p == "A" {
        return bound.cloned().unwrap_or_else(any);
    }
    if let Some(inner) = inside(p, '[', ']') {
        return Type::new(Kind::List(Arc::new(made(inner, bound))));
    }
    if let Some(inner) = inside(p, '{', '}') {
        return Type::new(Kind::Map(Arc::new(Type::new(Kind::String)), Arc::new(made(inner, bound))));
    }
    if let Some(inner) = p.strip_prefix('?') {
        return Type::optional(made(inner, bound));
    }
    simple(p).map_or_else(any, Type::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn signatures_decide() {
        let (s, i) = (Type::new(Kind::String), Type::new(Kind::Int));
        let ints = Type::list(i.clone(), 3);
        assert_eq!(result("sum", Some(&ints), &[]).unwrap().kind, Kind::Int);
        assert_eq!(result("indexOf", Some(&ints), std::slice::from_ref(&s)), None);
        assert_eq!(result("split", Some(&s), std::slice::from_ref(&s)).unwrap().to_string(), "list(string)");
        assert_eq!(result("size", None, &[i]), None);
        assert_eq!(result("quantity", None, &[s]).unwrap().to_string(), "kubernetes.Quantity");
        assert!(!exists("bogus") && exists("format.dns1123Label"));
    }
}
