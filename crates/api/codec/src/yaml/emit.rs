//! JSON to YAML in the style that Go's YAML library writes: sorted keys, lists not indented, quotes only where needed.

use skiff_json::Value;

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

fn mapping(map: &skiff_json::Map, indent: usize, out: &mut String) {
    let mut keys: Vec<_> = map.keys().collect();
    keys.sort_by(|a, b| key_order(a).cmp(&key_order(b)).then(a.cmp(b)));
    for (index, key) in keys.into_iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        if key.contains('\n') {
            quoted(key, None, out);
        } else {
            text(key, indent, None, out);
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
        Value::String(string) => text(string, indent, Some(indent + 2), out),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text in the first style that says it; a long one is folded to lines with `fold` spaces before them, keys never.
fn text(string: &str, indent: usize, fold: Option<usize>, out: &mut String) {
    let printable = string.chars().all(is_printable);
    let foldable = printable && !string.contains(" \n") && !string.ends_with(' ');
    if string.contains('\n') && foldable {
        literal(string, indent, out);
    } else if !printable || string.contains(['\n', '\t']) || means_something_else(string) {
        quoted(string, fold, out);
    } else if is_plain(string) {
        let mut line = Line::at_end(out, fold);
        let mut chars = string.chars().peekable();
        while let Some(c) = chars.next() {
            let single = chars.peek() != Some(&' ');
            line.put(c, single);
        }
    } else {
        let mut line = Line::at_end(out, fold);
        line.write('\'');
        let mut chars = string.chars().enumerate().peekable();
        while let Some((i, c)) = chars.next() {
            let inside = i > 0 && chars.peek().is_some_and(|(_, next)| *next != ' ');
            if c == '\'' {
                line.write(c);
            }
            line.put(c, inside);
        }
        line.write('\'');
    }
}

/// A line past this many characters is broken at the next lone space.
const WIDTH: usize = 80;

/// The line that is being written.
struct Line<'o> {
    out: &'o mut String,
    column: usize,
    fold: Option<usize>,
    spaces: bool,
}

impl<'o> Line<'o> {
    fn at_end(out: &'o mut String, fold: Option<usize>) -> Self {
        let column = out.rsplit('\n').next().unwrap_or_default().chars().count();
        Self { out, column, fold, spaces: false }
    }
    fn write(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
        self.spaces = c == ' ';
    }
    /// Writes a character, or breaks the line in place of a space where that is allowed. Says whether it did.
    fn put(&mut self, c: char, breakable: bool) -> bool {
        match self.fold {
            Some(indent) if c == ' ' && breakable && !self.spaces && self.column > WIDTH => {
                self.out.push('\n');
                pad(indent, self.out);
                self.column = indent;
                self.spaces = true;
                true
            }
            _ => {
                self.write(c);
                false
            }
        }
    }
}

fn literal(string: &str, indent: usize, out: &mut String) {
    out.push('|');
    // What begins with a space or a break says how deep it stands.
    if string.starts_with([' ', '\n']) {
        out.push('2');
    }
    let trailing = string.len() - string.trim_end_matches('\n').len();
    match trailing {
        0 => out.push('-'),
        1 if string.len() > 1 => {}
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

fn quoted(string: &str, fold: Option<usize>, out: &mut String) {
    let mut line = Line::at_end(out, fold);
    line.write('"');
    let mut chars = string.chars().enumerate().peekable();
    while let Some((i, c)) = chars.next() {
        let escape = match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if c == '\n' || !is_printable(c) => escaped(c),
            c => {
                // A space at the head of a line would be lost.
                if line.put(c, i > 0 && chars.peek().is_some()) && chars.peek().is_some_and(|(_, next)| *next == ' ') {
                    line.write('\\');
                    line.spaces = true;
                }
                continue;
            }
        };
        escape.chars().for_each(|c| line.write(c));
    }
    line.write('"');
}

/// What Go's writer leaves as it is: no tabs and other control characters, no line breaks but `\n`, no byte order mark, and nothing
/// past the basic plane.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{A0}'..='\u{FFFD}') && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

/// By YAML 1.1's name, or by number.
fn escaped(c: char) -> String {
    let named = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{B}' => 'v',
        '\u{C}' => 'f',
        '\r' => 'r',
        '\u{1B}' => 'e',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            return match u32::from(c) {
                n @ 0..=0xFF => format!("\\x{n:02X}"),
                n @ 0..=0xFFFF => format!("\\u{n:04X}"),
                n => format!("\\U{n:08X}"),
            };
        }
    };
    format!("\\{named}")
}

/// Whether YAML 1.1 would read the plain text as something else than a string.
fn means_something_else(string: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off",
        "Off", "OFF", "y", "Y", "n", "N", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "-.inf", "+.inf", "<<",
    ];
    if WORDS.contains(&string) {
        return true;
    }
    let unsigned = string.strip_prefix(['-', '+']).unwrap_or(string);
    let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let plain = string.replace('_', "");
    number && (plain.parse::<f64>().is_ok() || has_radix(unsigned) || is_date(string) || is_sexagesimal(string))
}

fn has_radix(text: &str) -> bool {
    let radix =
        |prefix: &str, radix: u32| text.strip_prefix(prefix).is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c == '_' || c.is_digit(radix)));
    radix("0x", 16) || radix("0b", 2) || radix("0o", 8)
}

fn is_date(text: &str) -> bool {
    let head: Vec<&str> = text.splitn(3, '-').collect();
    match head.as_slice() {
        [year, month, rest] => {
            let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
            year.len() == 4 && digits(year) && digits(month) && rest.starts_with(|c: char| c.is_ascii_digit())
        }
        _ => false,
    }
}

fn is_sexagesimal(text: &str) -> bool {
    text.contains(':') && text.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '_'))
}

fn is_plain(string: &str) -> bool {
    const INDICATORS: &[char] = &[',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`'];
    let Some(first) = string.chars().next() else { return false };
    let second = string.chars().nth(1);
    let dangerous_first = INDICATORS.contains(&first) || (matches!(first, '-' | '?' | ':') && second.is_none_or(char::is_whitespace)) || first == ' ';
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
    use skiff_json::json;

    #[test]
    fn style() {
        let value = json!({
            "b": [1, {"x": "true", "a": "*"}], "a": {"n": null, "e": {}, "l": []},
            "s": "two\nlines\n", "t": "12", "u": "plain text", "v": "a: b", "w": "",
        });
        let want =
            "a:\n  e: {}\n  l: []\n  \"n\": null\nb:\n- 1\n- a: '*'\n  x: \"true\"\ns: |\n  two\n  lines\nt: \"12\"\nu: plain text\nv: 'a: b'\nw: \"\"\n";
        assert_eq!(json_to_yaml(&value), want);
    }

    #[test]
    fn what_is_not_plain_text() {
        for (text, want) in [
            ("a\u{2028}b", "\"a\\Lb\""),
            ("a\u{2029}\u{85}\u{FEFF}", "\"a\\P\\N\\uFEFF\""),
            ("\u{1F600} x", "\"\\U0001F600 x\""),
            ("\u{7}\u{1B}\u{1}\u{9F}", "\"\\a\\e\\x01\\x9F\""),
            ("\u{A0}x é", "\u{A0}x é"),
            ("a\nb ", "\"a\\nb \""),
            ("\na", "|2-\n\n  a"),
            ("  a\nb\n", "|2\n    a\n  b"),
            ("a\n\n", "|+\n  a\n"),
            ("\n", "|2+\n"),
        ] {
            assert_eq!(json_to_yaml(&json!({"k": text})), format!("k: {want}\n"), "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_folded() {
        let long = |end: &str| format!("{} {end}", "word ".repeat(16).trim_end());
        for (value, want) in [
            // Past the width, at the next lone space; two in a row stay.
            (json!({"k": long("more and more")}), format!("k: {}\n  more and more\n", long("").trim_end())),
            (json!({"k": long(" two")}), format!("k: {}\n", long(" two"))),
            (json!({"l": [long("x")]}), format!("l:\n- {}\n  x\n", long("").trim_end())),
            (json!({"m": {"k": long("it's: so")}}), format!("m:\n  k: '{}\n    it''s: so'\n", long("").trim_end())),
            (json!({"k": long("a\tb")}), format!("k: \"{}\n  a\\tb\"\n", long("").trim_end())),
            (json!({long("key"): "v"}), format!("{}: v\n", long("key"))),
        ] {
            assert_eq!(json_to_yaml(&value), want);
        }
    }
}
