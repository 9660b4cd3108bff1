//! JSON to YAML in the style that Go's YAML library writes: sorted keys, lists not indented, quotes only where needed.

use serde_json::Value;

/// YAML text of a value.
pub fn json_to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(map, 0, &mut out),
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut out),
        scalar => {
            inline(scalar, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

fn mapping(map: &serde_json::Map<String, Value>, indent: usize, out: &mut String) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_by(|a, b| key_order(a).cmp(&key_order(b)).then(a.cmp(b)));
    for (index, key) in keys.into_iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        if key.contains('\n') {
            out.push_str(&quoted(key));
        } else {
            text(key, indent, out);
        }
        out.push(':');
        if let Some(value) = map.get(key) {
            member(value, indent, out);
        }
    }
}

/// Go's library sorts digits in a key as numbers; plain text order is kept within.
fn key_order(key: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in key.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
        } else {
            flush(&mut digits, &mut out);
            // Letters sort after everything else.
            out.push(if c.is_alphabetic() { '\u{10000}' } else { '\u{1}' });
            out.push(c);
        }
    }
    flush(&mut digits, &mut out);
    out
}

fn flush(digits: &mut String, out: &mut String) {
    if !digits.is_empty() {
        out.push_str(&format!("\u{2}{digits:0>20}"));
        digits.clear();
    }
}

fn member(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            pad(indent + 2, out);
            mapping(map, indent + 2, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            pad(indent, out);
            sequence(items, indent, out);
        }
        scalar => {
            out.push(' ');
            inline(scalar, indent, out);
            out.push('\n');
        }
    }
}

fn sequence(items: &[Value], indent: usize, out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => mapping(map, indent + 2, out),
            Value::Array(items) if !items.is_empty() => sequence(items, indent + 2, out),
            scalar => {
                inline(scalar, indent, out);
                out.push('\n');
            }
        }
    }
}

fn inline(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(string) => text(string, indent, out),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn text(string: &str, indent: usize, out: &mut String) {
    let printable = !string.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    let foldable = printable && !string.contains(" \n");
    if string.contains('\n') && foldable && !string.starts_with([' ', '\n', '\t']) {
        literal(string, indent, out);
    } else if !printable || string.contains(['\n', '\t']) || means_something_else(string) {
        out.push_str(&quoted(string));
    } else if is_plain(string) {
        out.push_str(string);
    } else {
        out.push('\'');
        out.push_str(&string.replace('\'', "''"));
        out.push('\'');
    }
}

fn literal(string: &str, indent: usize, out: &mut String) {
    out.push('|');
    let trailing = string.len() - string.trim_end_matches('\n').len();
    match trailing {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    let body = string.strip_suffix('\n').unwrap_or(string);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent + 2, out);
            out.push_str(line);
        }
    }
}

fn quoted(string: &str) -> String {
    let mut out = String::with_capacity(string.len() + 2);
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() && c.is_ascii() => out.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether YAML 1.1 would read the plain text as something else than a string.
fn means_something_else(string: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE", "yes",
        "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N",
        ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "-.inf", "+.inf", "<<",
    ];
    if WORDS.contains(&string) {
        return true;
    }
    let unsigned = string.strip_prefix(['-', '+']).unwrap_or(string);
    let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let plain = string.replace('_', "");
    number
        && (plain.parse::<f64>().is_ok()
            || has_radix(unsigned)
            || is_date(string)
            || is_sexagesimal(string))
}

fn has_radix(text: &str) -> bool {
    let radix = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix).is_some_and(|digits| {
            !digits.is_empty() && digits.chars().all(|c| c == '_' || c.is_digit(radix))
        })
    };
    radix("0x", 16) || radix("0b", 2) || radix("0o", 8)
}

fn is_date(text: &str) -> bool {
    let head: Vec<&str> = text.splitn(3, '-').collect();
    match head.as_slice() {
        [year, month, rest] => {
            let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
            year.len() == 4
                && digits(year)
                && digits(month)
                && rest.starts_with(|c: char| c.is_ascii_digit())
        }
        _ => false,
    }
}

fn is_sexagesimal(text: &str) -> bool {
    text.contains(':') && text.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '_'))
}

fn is_plain(string: &str) -> bool {
    const INDICATORS: &[char] = &[
        ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`',
    ];
    let Some(first) = string.chars().next() else { return false };
    let second = string.chars().nth(1);
    let dangerous_first = INDICATORS.contains(&first)
        || (matches!(first, '-' | '?' | ':') && second.is_none_or(char::is_whitespace))
        || first.is_whitespace();
    !dangerous_first
        && !string.ends_with([' ', ':'])
        && !string.contains(": ")
        && !string.contains(" #")
        && string != "---"
        && !string.starts_with("--- ")
        && string != "..."
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn style() {
        let value = json!({
            "b": [1, {"x": "true", "a": "*"}], "a": {"n": null, "e": {}, "l": []},
            "s": "two\nlines\n", "t": "12", "u": "plain text", "v": "a: b", "w": "",
        });
        let want = "a:\n  e: {}\n  l: []\n  \"n\": null\nb:\n- 1\n- a: '*'\n  x: \"true\"\ns: |\n  two\n  lines\nt: \"12\"\nu: plain text\nv: 'a: b'\nw: \"\"\n";
        assert_eq!(json_to_yaml(&value), want);
    }
}
