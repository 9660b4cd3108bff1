//! Bounds of numbers.
use super::failure::{Kind, Outcome};
use crate::schema::{Schema, Type};
use skiff_json::{Number, Value};

/// A float as Go's `%v` prints it.
pub fn float(f: f64) -> String {
    if f == f.trunc() && f.abs() < 1e21 { format!("{f:.0}") } else { format!("{f}") }
}

pub fn check(n: &Number, s: &Schema, path: &str, out: &mut Outcome) {
    range(n, s, path, out);
    let integer = n.as_i64();
    let data = n.as_f64().unwrap_or_default();
    let shown = |bound: f64| if integer.is_some() { (bound as i64).to_string() } else { float(bound) };
    // An integer is compared with the whole part of a bound.
    let beyond = |bound: f64, exclusive: bool, order: std::cmp::Ordering| {
        let found = match integer {
            Some(i) => Some(i.cmp(&(bound as i64))),
            None => data.partial_cmp(&bound),
        };
        found == Some(order) || (exclusive && found == Some(std::cmp::Ordering::Equal))
    };
    let value = || Value::Number(n.clone());
    if let Some(factor) = s.multiple_of {
        let fits = match integer {
            Some(i) if factor as i64 > 0 && factor == factor.trunc() => i % factor as i64 == 0,
            _ => {
                let ratio = if factor < 1.0 { 1.0 / factor * data } else { data / factor };
                (ratio - ratio.round()).abs() < 1e-9
            }
        };
        if !fits {
            out.fail(Kind::Invalid, path, value(), format!("{path} in body should be a multiple of {}", float(factor)));
        }
    }
    if let Some(min) = s.minimum.filter(|m| beyond(*m, s.exclusive_minimum, std::cmp::Ordering::Less)) {
        let than = if s.exclusive_minimum { "greater than" } else { "greater than or equal to" };
        out.fail(Kind::Invalid, path, value(), format!("{path} in body should be {than} {}", shown(min)));
    }
    if let Some(max) = s.maximum.filter(|m| beyond(*m, s.exclusive_maximum, std::cmp::Ordering::Greater)) {
        let than = if s.exclusive_maximum { "less than" } else { "less than or equal to" };
        out.fail(Kind::Invalid, path, value(), format!("{path} in body should be {than} {}", shown(max)));
    }
    out.matched += 1;
}

/// Whether the number fits the format.
fn range(n: &Number, s: &Schema, path: &str, out: &mut Outcome) {
    let format = s.kind.and_then(|k| super::format::of_type(Some(k.name()), &s.format));
    let fits = match (s.kind, format) {
        (Some(Type::Integer), Some("int32")) => {
            n.as_i64().map(|i| i32::try_from(i).is_ok()).unwrap_or_else(|| n.as_f64().is_some_and(|f| f == f.trunc() && f.abs() <= f64::from(i32::MAX)))
        }
        (Some(Type::Integer), _) => n.is_i64() || n.as_f64().is_some_and(|f| f == f.trunc() && f.abs() < 9.3e18),
        (Some(Type::Number), Some("float")) => n.as_f64().is_some_and(|f| f.abs() <= f64::from(f32::MAX)),
        _ => true,
    };
    if !fits {
        let kind = s.kind.map_or("number", Type::name);
        let with = format.map_or_else(|| " (default format)".to_owned(), |f| format!(" with format {f}"));
        out.fail_unplaced(format!("Checked value must be of type {kind}{with} in {path}"));
    }
}
