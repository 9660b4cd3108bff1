//! Names: the checks of RFC 1123 and RFC 1035 as Kubernetes words them, and generated names.
use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct NameError(pub String);

const LABEL_MSG: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_MSG: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL1035_MSG: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_MSG: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_MSG: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}
fn label_shape(s: &str) -> bool {
    let b = s.as_bytes();
    matches!((b.first(), b.last()), (Some(&f), Some(&l)) if lower(f) && lower(l)) && b.iter().all(|&c| lower(c) || c == b'-')
}
fn loose_shape(s: &str) -> bool {
    let b = s.as_bytes();
    matches!((b.first(), b.last()), (Some(f), Some(l)) if f.is_ascii_alphanumeric() && l.is_ascii_alphanumeric())
        && b.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}
fn check(len: usize, max: usize, ok: bool, msg: &str) -> Result<(), Vec<NameError>> {
    counted(len, (max, "characters"), ok, msg)
}
fn counted(len: usize, (max, unit): (usize, &str), ok: bool, msg: &str) -> Result<(), Vec<NameError>> {
    let mut errs = Vec::new();
    if len > max {
        errs.push(NameError(format!("must be no more than {max} {unit}")));
    }
    if !ok {
        errs.push(NameError(msg.to_owned()));
    }
    if errs.is_empty() { Ok(()) } else { Err(errs) }
}

/// At most 63 bytes of `[a-z0-9-]`, alphanumeric at both ends.
pub fn is_dns1123_label(s: &str) -> Result<(), Vec<NameError>> {
    check(s.len(), 63, label_shape(s), LABEL_MSG)
}
/// At most 253 bytes; labels joined by dots.
pub fn is_dns1123_subdomain(s: &str) -> Result<(), Vec<NameError>> {
    check(s.len(), 253, s.split('.').all(label_shape), SUBDOMAIN_MSG)
}
/// Like a label of RFC 1123, but starts with a letter.
pub fn is_dns1035_label(s: &str) -> Result<(), Vec<NameError>> {
    check(s.len(), 63, label_shape(s) && !s.as_bytes()[0].is_ascii_digit(), LABEL1035_MSG)
}
/// `prefix/name` as label and annotation keys are.
pub fn is_qualified_name(s: &str) -> Result<(), Vec<NameError>> {
    let mut errs = Vec::new();
    let name = match s.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errs.push(NameError("prefix part must be non-empty".into()));
            } else if let Err(e) = is_dns1123_subdomain(prefix) {
                errs.extend(e.into_iter().map(|e| NameError(format!("prefix part {}", e.0.replace("more than 253 characters", "more than 253 bytes")))));
            }
            name
        }
        _ => {
            let msg = QUALIFIED_MSG.replacen("name part", "a qualified name", 1);
            return Err(vec![NameError(format!("{msg} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"))]);
        }
    };
    if name.is_empty() {
        errs.push(NameError("name part must be non-empty".into()));
    } else if name.len() > 63 {
        errs.push(NameError("name part must be no more than 63 bytes".into()));
    }
    if !loose_shape(name) {
        errs.push(NameError(QUALIFIED_MSG.to_owned()));
    }
    if errs.is_empty() { Ok(()) } else { Err(errs) }
}
/// Empty, or at most 63 bytes of `[A-Za-z0-9_.-]`, alphanumeric at both ends.
pub fn is_label_value(s: &str) -> Result<(), Vec<NameError>> {
    counted(s.len(), (63, "bytes"), s.is_empty() || loose_shape(s), VALUE_MSG)
}

/// The letters of generated names: no vowels, nothing that looks like another.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// `base` (cut to 58 bytes) and five letters chosen by `random` (each call gives a fresh number).
pub fn generate_name(base: &str, mut random: impl FnMut() -> u32) -> String {
    let mut end = base.len().min(58);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    name.extend((0..5).map(|_| ALPHABET[random() as usize % ALPHABET.len()] as char));
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn names() {
        for (s, ok) in [("a", true), ("a-b", true), ("-a", false), ("A", false), ("", false), ("a.b", false)] {
            assert_eq!(is_dns1123_label(s).is_ok(), ok, "{s}");
        }
        assert!(is_dns1123_subdomain("a.b-c.d").is_ok() && is_dns1123_subdomain("a..b").is_err());
        assert!(is_dns1035_label("1a").is_err() && is_dns1035_label("").is_err());
        assert!(is_qualified_name("example.com/My_Name").is_ok() && is_qualified_name("/a").is_err() && is_qualified_name("a/b/c").is_err());
        for long in [is_label_value(&"a".repeat(64)), is_qualified_name(&"a".repeat(64)), is_qualified_name(&format!("{}/a", "a".repeat(254)))] {
            assert!(long.unwrap_err()[0].0.ends_with(" bytes"));
        }
        assert!(is_label_value("").is_ok() && is_label_value("-").is_err());
        assert_eq!(generate_name("web-", || 0), "web-bbbbb");
    }
}
