//! Regular expressions as Go reads them, with a limit on their size.

mod fault;

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled expression. Go's repetitions stop at 1,000; this stops what multiplies them.
const SIZE: usize = 1 << 20;

/// Compiles in Go's dialect: `\d`, `\w` and `\s` mean ASCII. The error is what Go says.
pub fn compile(text: &str) -> Result<Regex, String> {
    let wrong = |why: String| format!("error parsing regexp: {why}");
    let ours = ascii(text);
    if let Some(why) = fault::find(text, &ours) {
        return Err(wrong(why));
    }
    RegexBuilder::new(&ours).size_limit(SIZE).dfa_size_limit(SIZE).nest_limit(fault::DEPTH).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => wrong("expression too large".to_owned()),
        e => wrong(e.to_string().lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()),
    })
}

fn ascii(text: &str) -> String {
    let (mut out, mut inside, mut chars) = (String::with_capacity(text.len()), false, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str(if inside { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if inside { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => out.push_str(if inside { "\\t\\n\\f\\r " } else { "[\\t\\n\\f\\r ]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('Q') => quoted(&mut chars, &mut out),
                Some(named @ ('p' | 'P' | 'x')) => braced(named, &mut chars, &mut out),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '[' if !inside => {
                inside = true;
                out.push(c);
                // A bracket right behind the opening one stands for itself.
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            '{' if !inside && !counts(&chars) => out.push_str("\\{"),
            '[' if chars.peek() != Some(&':') => out.push_str("\\["),
            // What other dialects read as set operations.
            '&' | '~' | '-' if inside && chars.peek() == Some(&c) => out.extend(['\\', c]),
            '[' => {
                out.push(c);
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ']' if inside => {
                inside = false;
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// An escape whose argument may stand in braces.
fn braced(escape: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    out.extend(['\\', escape]);
    if chars.peek() == Some(&'{') {
        for c in chars.by_ref() {
            out.push(c);
            if c == '}' {
                break;
            }
        }
    }
}

/// Whether what follows an opening brace makes it a repetition; otherwise it stands for itself.
fn counts(rest: &std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    let mut rest = rest.clone();
    let mut digits = || std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).count();
    if digits() == 0 {
        return false;
    }
    match rest.next() {
        Some('}') => true,
        Some(',') => {
            std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).count();
            rest.next() == Some('}')
        }
        _ => false,
    }
}

/// `\Q…\E` is taken literally.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next_if_eq(&'E').is_some() {
            break;
        }
        text.push(c);
    }
    out.push_str(&regex::escape(&text));
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn go_dialect() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "٣", false),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^[^\s]+$", "a b", false),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^[a[b]+$", "a[", true),
            (r"^[]a]+$", "]a", true),
            (r"^\p{Greek}+\x{41}$", "αA", true),
            (r"^{{.*}}$", "{{x}}", true),
            (r"^a{2}{,3}$", "aa{,3}", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), matches, "{pattern}");
        }
        // Multiplied within Go's limit, and still too large.
        assert_eq!(compile(r"(\pL{30}){33}").unwrap_err(), "error parsing regexp: expression too large");
    }
}
