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
        let bound = bound.map_or_else(|| "+Inf".to_owned(), |b| b.to_string());
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
    let _ = writeln!(out, " {value}");
}
