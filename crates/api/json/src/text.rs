//! Text to a tree and back without serde between: what the server does most with a tree.
//!
//! [`parse`] reads what is usual by itself; for everything else (escapes, fractions, errors) it asks `serde_json`, so that both give
//! the same of every text. [`Value::write_to`] writes what `serde_json` writes.

use crate::{Key, Map, Result, Value};

/// As deep as `serde_json` reads, less what it may count otherwise.
const MAX_DEPTH: usize = 120;

/// The tree of a text: what `from_slice` gives, for less.
///
/// # Errors
/// Those of `from_slice`.
pub fn parse(text: &[u8]) -> Result<Value> {
    match std::str::from_utf8(text).ok().and_then(Reader::read) {
        Some(value) => Ok(value),
        None => serde_json::from_slice(text),
    }
}

/// Whether a text is JSON, of an object.
pub fn is_object(text: &str) -> bool {
    let mut reader = Reader::new(text);
    let usual = text.starts_with('{') && reader.pass(0).is_some() && reader.next().is_none();
    usual || (text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// A place in a text, and what is read of the lists and objects around it: they get memory when it is known how much.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    items: Vec<Value>,
    members: Vec<(Key, Value)>,
}

/// Each gives None where the text is for `serde_json`.
impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Reader { text, at: 0, items: Vec::new(), members: Vec::new() }
    }

    fn read(text: &'t str) -> Option<Value> {
        let mut reader = Reader::new(text);
        let value = reader.value(0)?;
        reader.next().is_none().then_some(value)
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.next()? {
            b'"' => self.string().map(Value::String),
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let start = self.items.len();
        self.at += 1;
        if depth > MAX_DEPTH {
            return None;
        }
        if self.next()? == b']' {
            self.at += 1;
            return Some(Value::Array(Vec::new()));
        }
        loop {
            let item = self.value(depth + 1)?;
            self.items.push(item);
            match self.next()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(Value::Array(self.items.drain(start..).collect()))
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let start = self.members.len();
        self.at += 1;
        if depth > MAX_DEPTH {
            return None;
        }
        if self.next()? == b'}' {
            self.at += 1;
            return Some(Value::Object(Map::new()));
        }
        loop {
            let name = match self.next()? {
                b'"' => match self.plain() {
                    Some(name) => Key::new(name),
                    None => Key::from(self.escaped()?),
                },
                _ => return None,
            };
            (self.next()? == b':').then_some(())?;
            self.at += 1;
            let value = self.value(depth + 1)?;
            self.members.push((name, value));
            match self.next()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(Value::Object(Map::of(self.members.drain(start..))))
    }

    fn string(&mut self) -> Option<String> {
        match self.plain() {
            Some(text) => Some(text.to_owned()),
            None => self.escaped(),
        }
    }

    /// The string that begins here, if it is written as it is.
    fn plain(&mut self) -> Option<&'t str> {
        let from = self.at + 1;
        let end = special(self.text.as_bytes(), from)?;
        (self.text.as_bytes().get(end) == Some(&b'"')).then_some(())?;
        self.at = end + 1;
        self.text.get(from..end)
    }

    /// The same of one with escapes.
    fn escaped(&mut self) -> Option<String> {
        let (bytes, from) = (self.text.as_bytes(), self.at);
        let mut end = from + 1;
        loop {
            end = special(bytes, end)?;
            match bytes.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => return None,
            }
        }
        self.at = end + 1;
        serde_json::from_str(self.text.get(from..self.at)?).ok()
    }

    /// Behind the value that begins here; there is one of its form.
    fn pass(&mut self, depth: usize) -> Option<()> {
        let open = self.next()?;
        if !matches!(open, b'{' | b'[') {
            return if open == b'"' { self.pass_string() } else { self.value(depth).map(drop) };
        }
        let close = if open == b'{' { b'}' } else { b']' };
        self.at += 1;
        if depth > MAX_DEPTH {
            return None;
        }
        if self.next()? == close {
            self.at += 1;
            return Some(());
        }
        loop {
            if open == b'{' {
                (self.next()? == b'"').then_some(())?;
                self.pass_string()?;
                (self.next()? == b':').then_some(())?;
                self.at += 1;
            }
            self.pass(depth + 1)?;
            match self.next()? {
                b',' => self.at += 1,
                byte if byte == close => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn pass_string(&mut self) -> Option<()> {
        let (bytes, mut end) = (self.text.as_bytes(), self.at + 1);
        loop {
            end = special(bytes, end)?;
            match (bytes.get(end)?, bytes.get(end + 1)) {
                (b'"', _) => break,
                (b'\\', Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => end += 2,
                _ => return None,
            }
        }
        self.at = end + 1;
        Some(())
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let (negative, digits) = match rest.split_first()? {
            (b'-', digits) => (true, digits),
            _ => (false, rest),
        };
        let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        let usual = (1..=18).contains(&count) && (digits.first() != Some(&b'0') || (count == 1 && !negative));
        if !usual || matches!(digits.get(count), Some(b'.' | b'e' | b'E')) {
            let length = rest.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
            let number = serde_json::from_str(self.text.get(self.at..self.at + length)?).ok()?;
            self.at += length;
            return Some(number);
        }
        let n = digits.iter().take(count).fold(0, |n: i64, b| n * 10 + i64::from(b - b'0'));
        self.at += count + usize::from(negative);
        Some(Value::from(if negative { -n } else { n }))
    }
}

/// Where the first quote, backslash or control character from there on is.
fn special(bytes: &[u8], from: usize) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let (mut at, mut rest) = (from, bytes.get(from..)?);
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let (quote, backslash) = (word ^ (ONES * u64::from(b'"')), word ^ (ONES * u64::from(b'\\')));
        // The high bit of each byte that is zero, or less than a space; what is above the first one may be marked by a borrow.
        let zero = |w: u64| w.wrapping_sub(ONES) & !w;
        let marks = (zero(quote) | zero(backslash) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGH;
        if marks != 0 {
            return Some(at + (marks.trailing_zeros() / 8) as usize);
        }
        (at, rest) = (at + 8, behind);
    }
    rest.iter().position(|b| matches!(b, b'"' | b'\\' | ..0x20)).map(|i| at + i)
}

impl Value {
    /// Appends the value as `serde_json` writes it, without white space.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            // Writing to memory does not fail.
            Value::Number(n) => drop(serde_json::to_writer(out, n)),
            Value::String(s) => write_text(s, out),
            Value::Array(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write_to(out);
                }
                out.push(b']');
            }
            Value::Object(members) => {
                out.push(b'{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_text(name, out);
                    out.push(b':');
                    value.write_to(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Appends a string with its quotes.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut from = 0;
    while let Some(at) = special(bytes, from) {
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        let byte = bytes.get(at).copied().unwrap_or_default();
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]]);
            }
        }
        from = at + 1;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the same words as `serde_json`, or with its error.
    fn same(text: &[u8]) -> std::result::Result<(), TestCaseError> {
        let (ours, theirs) = (parse(text), serde_json::from_slice::<Value>(text));
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                let mut out = Vec::new();
                ours.write_to(&mut out);
                prop_assert_eq!(String::from_utf8_lossy(&out), serde_json::to_string(&theirs).unwrap());
                prop_assert_eq!(ours, theirs);
            }
            (ours, theirs) => prop_assert_eq!(ours.map_err(|e| e.to_string()), theirs.map_err(|e| e.to_string())),
        }
        if let Ok(text) = std::str::from_utf8(text) {
            prop_assert_eq!(is_object(text), text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        }
        Ok(())
    }

    fn trees() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,30}".prop_map(Value::from),
            "[a-z\"\\\\\n\u{1}é]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 60, 24, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::vec(("[a-z\"é]{0,9}", inner), 0..24).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn trees_are_read_and_written_as_by_serde(tree in trees(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&tree).unwrap() } else { serde_json::to_string(&tree).unwrap() };
            same(text.as_bytes())?;
        }

        #[test]
        fn any_text_is_read_as_by_serde(text in "[\\[\\]{}\":,0-9.eE+\\-a-z\\\\ \n\u{1}é]{0,40}") {
            same(text.as_bytes())?;
        }

        #[test]
        fn any_bytes_are_read_as_by_serde(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            same(&bytes)?;
        }
    }

    #[test]
    fn odd_texts() {
        let (deep, names) = (|n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n)), |n: usize| (0..n).map(|i| format!("\"n{i}\":{i},")).collect::<String>());
        let many = format!("{{{}\"n3\":1}}", names(40));
        for text in [
            "",
            " ",
            "01",
            "-0",
            "-",
            "1.",
            "1e5",
            "1.5e+3",
            "123456789012345678",
            "1234567890123456789",
            "18446744073709551615",
            "18446744073709551616",
            "-1",
            "\"a\\u00e4\\n\"",
            "\"\\ud800\"",
            "\"a",
            "\"\\",
            "{\"a\":1,\"a\":2}",
            "{\"a\\u0062\":1}",
            "{\"a\" : [ 1 , 2 ] }",
            "[1,]",
            "{,}",
            "{\"a\":1,}",
            "nul",
            "true1",
            "\u{feff}1",
            "1 2",
            "{} ",
            "{\"a\\\"b\":{\"c\\u0041\":[true,-1.5,\"\\\\\"]}}",
            "{\"a\\x\":1}",
            "{} {}",
            "\"a\u{7f}\"",
            &many,
            &deep(119),
            &deep(125),
            &deep(127),
            &deep(128),
            &deep(129),
        ] {
            same(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }
}
