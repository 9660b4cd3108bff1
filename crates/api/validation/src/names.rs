//! The formats of names and short texts, and what upstream says about a text that has not the format.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>
use std::borrow::Cow;

/// What is wrong with a text; nothing when it is empty.
pub type Messages = Vec<Cow<'static, str>>;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// The end of a message about a regular expression.
pub(crate) fn pattern(message: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{regex}')");
    }
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}
/// Starts and ends with `end`, and has only `end` and `inner` between.
fn shaped(s: &str, end: fn(u8) -> bool, inner: &[u8]) -> bool {
    let b = s.as_bytes();
    matches!((b.first(), b.last()), (Some(&f), Some(&l)) if end(f) && end(l)) && b.iter().all(|&c| end(c) || inner.contains(&c))
}
fn is_label(s: &str) -> bool {
    shaped(s, lower, b"-")
}
fn is_subdomain(s: &str) -> bool {
    s.split('.').all(is_label)
}
fn is_key(s: &str) -> bool {
    shaped(s, |b| b.is_ascii_alphanumeric(), b"-_.")
}

fn longer(s: &str, max: usize, unit: &str, out: &mut Messages) {
    if s.len() > max {
        out.push(format!("must be no more than {max} {unit}").into());
    }
}

pub fn dns1123_label(s: &str) -> Messages {
    label(s, "characters")
}
/// The same, as declared rules word it.
pub(crate) fn short_name(s: &str) -> Messages {
    label(s, "bytes")
}
fn label(s: &str, unit: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 63, unit, &mut out);
    if !is_label(s) {
        out.push(if is_subdomain(s) {
            "must not contain dots".into()
        } else {
            pattern(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
            .into()
        });
    }
    out
}

pub fn dns1123_subdomain(s: &str) -> Messages {
    subdomain(s, "characters")
}
/// The same, as declared rules word it.
pub fn long_name(s: &str) -> Messages {
    subdomain(s, "bytes")
}
fn subdomain(s: &str, unit: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 253, unit, &mut out);
    if !is_subdomain(s) {
        out.push(pattern("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character", SUBDOMAIN, &["example.com"]).into());
    }
    out
}

pub(crate) fn long_name_caseless(s: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 253, "bytes", &mut out);
    if !is_subdomain(&s.to_ascii_lowercase()) {
        out.push(
            pattern(
                "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                SUBDOMAIN,
                &["Example.com"],
            )
            .into(),
        );
    }
    out
}

pub(crate) fn subdomain_with_underscore(s: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 253, "characters", &mut out);
    let part = |p: &str| {
        let p = p.strip_prefix('_').unwrap_or(p);
        shaped(p, lower, b"-_")
    };
    if !s.split('.').all(part) {
        let label = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        let regex = format!("{label}(\\.{label})*");
        out.push(pattern("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character", &regex, &["example.com"]).into());
    }
    out
}

pub(crate) fn wildcard_subdomain(s: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 253, "characters", &mut out);
    if !s.strip_prefix("*.").is_some_and(is_subdomain) {
        let regex = format!("\\*\\.{SUBDOMAIN}");
        out.push(pattern("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character", &regex, &["*.example.com"]).into());
    }
    out
}

pub fn dns1035_label(s: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 63, "characters", &mut out);
    if !is_label(s) || s.starts_with(|c: char| c.is_ascii_digit()) {
        out.push(pattern("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character", "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]).into());
    }
    out
}

const KEY_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const KEY_EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];

/// `prefix/name`, as keys of labels and annotations are.
pub fn qualified_name(s: &str) -> Messages {
    let mut out = Messages::new();
    let parts: Vec<&str> = s.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".into());
            } else {
                out.extend(long_name(prefix).into_iter().map(|m| format!("prefix part {m}").into()));
            }
            name
        }
        _ => {
            return vec![
                format!(
                    "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                    pattern(KEY_TEXT, KEY, &KEY_EXAMPLES)
                )
                .into(),
            ];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 bytes".into());
    }
    if !is_key(name) {
        out.push(format!("name part {}", pattern(KEY_TEXT, KEY, &KEY_EXAMPLES)).into());
    }
    out
}

pub fn label_value(s: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 63, "bytes", &mut out);
    if !s.is_empty() && !is_key(s) {
        let regex = format!("({KEY})?");
        out.push(pattern("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", &regex, &["MyValue", "my_value", "12345"]).into());
    }
    out
}

/// One step of a path: what RBAC's names may be.
pub fn path_segment(s: &str) -> Messages {
    if s == "." || s == ".." {
        return vec![format!("may not be '{s}'").into()];
    }
    ["/", "%"].iter().filter(|c| s.contains(**c)).map(|c| format!("may not contain '{c}'").into()).collect()
}

pub(crate) fn port_name(s: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 15, "characters", &mut out);
    if s.is_empty() || !s.bytes().all(|b| lower(b) || b == b'-') {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !s.bytes().any(|b| b.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".into());
    }
    if s.contains("--") {
        out.push("must not contain consecutive hyphens".into());
    }
    if s.starts_with('-') || s.ends_with('-') {
        out.push("must not begin or end with a hyphen".into());
    }
    out
}

pub(crate) fn percent(s: &str) -> Messages {
    let digits = s.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    vec![pattern("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", &["1%", "93%"]).into()]
}

pub(crate) fn http_header(s: &str) -> Messages {
    if !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![pattern("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", &["X-Header-Name"]).into()]
}

/// Names of environment variables: printable ASCII without `=`.
pub(crate) fn env_var(s: &str) -> Messages {
    let mut out = Messages::new();
    if s.is_empty() {
        out.push("environment variable name must be non-empty".into());
    }
    if !s.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        out.push("a valid environment variable name must consist only of printable ASCII characters other than '='".into());
    }
    out
}

pub(crate) fn config_key(s: &str) -> Messages {
    let mut out = Messages::new();
    longer(s, 253, "characters", &mut out);
    if s.is_empty() || !s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        out.push(
            pattern("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"])
                .into(),
        );
    }
    match s {
        "." | ".." => out.push(format!("must not be '{s}'").into()),
        _ if s.starts_with("..") => out.push("must not start with '..'".into()),
        _ => {}
    }
    out
}

pub(crate) fn c_identifier(s: &str) -> Messages {
    let mut bytes = s.bytes();
    if bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Vec::new();
    }
    vec![
        pattern(
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
            "[A-Za-z_][A-Za-z0-9_]*",
            &["my_name", "MY_NAME", "MyName"],
        )
        .into(),
    ]
}

pub(crate) fn condition_reason(s: &str) -> Messages {
    let b = s.as_bytes();
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let fits = matches!((b.first(), b.last()), (Some(f), Some(l)) if f.is_ascii_alphabetic() && word(*l)) && b.iter().all(|c| word(*c) || b",:".contains(c));
    if fits {
        return Vec::new();
    }
    vec![pattern("a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'", "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"]).into()]
}

/// Go checks prefixes of names this way: the last two characters of what ends in a hyphen count as one letter.
pub(crate) fn masked(name: &str) -> Cow<'_, str> {
    if name.len() > 1 && name.ends_with('-') {
        let mut end = name.len() - 2;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        return format!("{}a", &name[..end]).into();
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            dns1123_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(port_name("UPPER_and-"), ["must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)", "must not begin or end with a hyphen"]);
        assert_eq!(config_key(".."), ["must not be '..'"]);
        for good in ["a", "a-b.c", "0.1"] {
            assert!(dns1123_subdomain(good).is_empty(), "{good}");
        }
        for bad in ["", "a..b", "-a", "a-.b"] {
            assert!(!dns1123_subdomain(bad).is_empty(), "{bad}");
        }
        assert_eq!(masked("web-"), "wea");
    }
}
