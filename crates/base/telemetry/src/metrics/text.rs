//! Prometheus's text form.
use super::{Family, Sample, Value};
use std::fmt::Write;

pub(super) fn write(families: &[Family]) -> String {
    let mut out = String::new();
    for f in families {
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {}", f.name, f.help, f.name, f.kind);
        f.samples.iter().for_each(|s| sample(&mut out, &f.name, s));
    }
    out
}

fn sample(out: &mut String, name: &str, s: &Sample) {
    let h = match &s.value {
        Value::Number(n) => return line(out, name, "", s, None, *n),
        Value::Histogram(h) => h,
    };
    for (bound, n) in h.cumulative() {
        let bound = bound.map_or_else(|| "+Inf".to_owned(), number);
        line(out, name, "_bucket", s, Some(&bound), n as f64);
    }
    line(out, name, "_sum", s, None, h.sum);
    line(out, name, "_count", s, None, h.count() as f64);
}

fn line(out: &mut String, name: &str, suffix: &str, s: &Sample, bound: Option<&str>, value: f64) {
    let _ = write!(out, "{name}{suffix}");
    let labels = s.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain(bound.map(|b| ("le", b)));
    let mut some = false;
    for (k, v) in labels {
        out.push(if some { ',' } else { '{' });
        some = true;
        let _ = write!(out, "{k}=\"");
        for c in v.chars() {
            match c {
                '\\' => *out += "\\\\",
                '"' => *out += "\\\"",
                '\n' => *out += "\\n",
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if some {
        out.push('}');
    }
    out.push(' ');
    *out += &number(value);
    out.push('\n');
}

/// As Go writes numbers here: the shortest digits, with an exponent from a million on and below a ten-thousandth.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e').and_then(|(digits, e)| Some((digits, e.parse::<i32>().ok()?))) {
        Some((digits, e)) if value != 0.0 && !(-4..6).contains(&e) => format!("{digits}e{}{:02}", if e < 0 { '-' } else { '+' }, e.abs()),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::number;
    #[test]
    fn numbers_look_like_go_s() {
        for (value, text) in [
            (0.0, "0"),
            (150_000.0, "150000"),
            (1_050_000.0, "1.05e+06"),
            (1e9, "1e+09"),
            (1_048_576.0, "1.048576e+06"),
            (0.0001, "0.0001"),
            (0.00016, "0.00016"),
            (0.00001, "1e-05"),
            (1e-8, "1e-08"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
