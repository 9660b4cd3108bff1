//! A JSON scanner over bytes that speaks Go's error texts.
//!
//! It owns syntax alone: characters, strings, numbers, nesting. What a value means is for its callers.

use std::borrow::Cow;

use crate::error::DecodeError;
use crate::limits::MAX_DEPTH;
use skiff_json::pass;

/// A position in a JSON text.
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

type Result<T> = std::result::Result<T, DecodeError>;

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// The next byte that is no white space, not consumed.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                other => return Some(*other),
            }
        }
        None
    }

    /// Where the next token begins.
    pub fn position(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// The text between a position and the present one.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// Fails unless only white space is left.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("after top-level value")),
        }
    }

    /// The error for the byte at hand.
    pub fn unexpected(&self, context: &str) -> DecodeError {
        match self.bytes.get(self.at) {
            // Go steps once more, on a space, at the end of the text.
            None if ["literal", "escape"].iter().any(|word| context.contains(word)) => DecodeError::Syntax(format!("invalid character ' ' {context}")),
            None => DecodeError::Syntax("unexpected end of JSON input".to_owned()),
            Some(byte) => DecodeError::Syntax(format!("invalid character {} {context}", quote_char(*byte))),
        }
    }

    /// Consumes `{` or `[`.
    pub fn open(&mut self) -> Result<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(DecodeError::Syntax("exceeded max depth".to_owned()));
        }
        Ok(())
    }

    /// In an array: whether there is another element. Consumes the comma or the `]`.
    pub fn next_element(&mut self, first: bool) -> Result<bool> {
        match self.peek() {
            Some(b']') => {
                self.close();
                Ok(false)
            }
            _ if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                match self.peek() {
                    Some(b']') => Err(self.unexpected("looking for beginning of value")),
                    _ => Ok(true),
                }
            }
            _ => Err(self.unexpected("after array element")),
        }
    }

    /// In an object: the next key, with the colon consumed; none at the end of the object.
    pub fn next_key(&mut self, first: bool) -> Result<Option<Cow<'a, str>>> {
        match self.peek() {
            Some(b'}') => {
                self.close();
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected("looking for beginning of object key string"));
                }
            }
            Some(b'"') if first => {}
            _ if first => {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            _ => return Err(self.unexpected("after object key:value pair")),
        }
        let key = self.text()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// The same as [`Self::next_key`], as bytes, and quicker where the key is written without anything unusual.
    pub fn quick_key(&mut self, first: bool) -> Result<Option<Cow<'a, [u8]>>> {
        let at = match self.bytes.get(self.at) {
            Some(b'"') if first => self.at,
            Some(b',') if !first => self.at + 1,
            _ => usize::MAX,
        };
        if self.bytes.get(at) == Some(&b'"')
            && let Some(key) = pass::plain_string(self.bytes, at)
            && self.bytes.get(at + key.len() + 2) == Some(&b':')
        {
            self.at = at + key.len() + 3;
            return Ok(Some(Cow::Borrowed(key)));
        }
        Ok(self.next_key(first)?.map(as_bytes))
    }

    /// The same as [`Self::text`], as bytes, and quicker where it is written without anything unusual.
    pub fn quick_text(&mut self) -> Result<Cow<'a, [u8]>> {
        if let Some(text) = pass::plain_string(self.bytes, self.at) {
            self.at += text.len() + 2;
            return Ok(Cow::Borrowed(text));
        }
        self.text().map(as_bytes)
    }

    /// The same as [`Self::skip`] for text that is known to be JSON.
    pub fn pass(&mut self) -> Result<&'a [u8]> {
        let start = self.position();
        match pass::value_end(self.bytes, start) {
            Some(end) => {
                self.at = end;
                Ok(self.since(start))
            }
            None => self.skip(),
        }
    }

    fn close(&mut self) {
        self.at += 1;
        self.depth = self.depth.saturating_sub(1);
    }

    /// Consumes a string, borrowed when it is written without escapes.
    pub fn text(&mut self) -> Result<Cow<'a, str>> {
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        let end = memchr::memchr2(b'"', b'\\', rest);
        if let Some(end) = end.filter(|end| rest.get(*end) == Some(&b'"')) {
            let plain = rest.get(..end).filter(|bytes| bytes.iter().all(|b| *b >= 0x20));
            if let Some(text) = plain.and_then(|bytes| std::str::from_utf8(bytes).ok()) {
                self.at += end + 2;
                return Ok(Cow::Borrowed(text));
            }
        }
        self.string().map(Cow::Owned)
    }

    /// Consumes a string; invalid UTF-8 and lone surrogates become U+FFFD, as in Go.
    pub fn string(&mut self) -> Result<String> {
        self.at += 1;
        let start = self.at;
        let mut out: Vec<u8> = Vec::new();
        let mut clean = start;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(self.unexpected("")),
                Some(b'"') => break,
                Some(b'\\') => {
                    out.extend_from_slice(self.bytes.get(clean..self.at).unwrap_or_default());
                    self.escape(&mut out)?;
                    clean = self.at;
                }
                Some(byte) if *byte < 0x20 => return Err(self.unexpected("in string literal")),
                Some(_) => self.at += 1,
            }
        }
        out.extend_from_slice(self.bytes.get(clean..self.at).unwrap_or_default());
        self.at += 1;
        Ok(match String::from_utf8(out) {
            Ok(text) => text,
            Err(error) => lossy(error.as_bytes()),
        })
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.at += 1;
        let byte = self.bytes.get(self.at).copied();
        let plain = match byte {
            Some(b'"' | b'\\' | b'/') => byte,
            Some(b'b') => Some(8),
            Some(b'f') => Some(12),
            Some(b'n') => Some(b'\n'),
            Some(b'r') => Some(b'\r'),
            Some(b't') => Some(b'\t'),
            Some(b'u') => None,
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        match plain {
            Some(byte) => out.push(byte),
            None => {
                let unit = self.hex4()?;
                let scalar = self.surrogates(unit)?;
                let mut buffer = [0; 4];
                out.extend_from_slice(scalar.encode_utf8(&mut buffer).as_bytes());
            }
        }
        Ok(())
    }

    /// Joins a high surrogate with the low one that follows.
    fn surrogates(&mut self, unit: u32) -> Result<char> {
        if let Some(scalar) = char::from_u32(unit) {
            return Ok(scalar);
        }
        let before = self.at;
        if unit < 0xDC00 && self.bytes.get(self.at..self.at + 2) == Some(b"\\u") {
            self.at += 2;
            let low = self.hex4()?;
            if (0xDC00..0xE000).contains(&low) {
                let joined = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.bytes.get(self.at).and_then(|b| char::from(*b).to_digit(16));
            match digit {
                Some(digit) => value = value * 16 + digit,
                None => return Err(self.unexpected("in \\u hexadecimal character escape")),
            }
            self.at += 1;
        }
        Ok(value)
    }

    /// Consumes a number and gives its text.
    pub fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(std::str::from_utf8(self.since(start)).unwrap_or_default())
    }

    fn some_digits(&mut self, context: &str) -> Result<()> {
        if !matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            return Err(self.unexpected(context));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    /// Consumes `true`, `false` or `null`.
    pub fn word(&mut self) -> Result<&'static str> {
        let word = match self.bytes.get(self.at) {
            Some(b't') => "true",
            Some(b'f') => "false",
            Some(b'n') => "null",
            _ => return Err(self.unexpected("looking for beginning of value")),
        };
        for (index, expected) in word.bytes().enumerate() {
            if self.bytes.get(self.at) != Some(&expected) {
                let rest = word.get(index..index + 1).unwrap_or_default();
                return Err(self.unexpected(&format!("in literal {word} (expecting '{rest}')")));
            }
            self.at += 1;
        }
        Ok(word)
    }

    /// Consumes a whole value and gives its text.
    pub fn skip(&mut self) -> Result<&'a [u8]> {
        let start = self.position();
        match self.peek() {
            Some(b'{') => {
                self.open()?;
                let mut first = true;
                while self.next_key(first)?.is_some() {
                    first = false;
                    self.skip()?;
                }
            }
            Some(b'[') => {
                self.open()?;
                let mut first = true;
                while self.next_element(first)? {
                    first = false;
                    self.skip()?;
                }
            }
            Some(b'"') => {
                self.string()?;
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
            }
            Some(_) => {
                self.word()?;
            }
            None => return Err(self.unexpected("")),
        }
        Ok(self.since(start))
    }
}

fn as_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Go replaces each byte that is no UTF-8; String::from_utf8_lossy replaces maximal runs.
fn lossy(mut bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    loop {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                out.push_str(text);
                return out;
            }
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                out.push_str(std::str::from_utf8(good).unwrap_or_default());
                out.push(char::REPLACEMENT_CHARACTER);
                bytes = bad.get(1..).unwrap_or_default();
            }
        }
    }
}

/// Go's spelling of a byte in a syntax error.
fn quote_char(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        0x20..0x7f => format!("'{}'", char::from(byte)),
        0xa1..=0xff => format!("'{}'", char::from(byte)),
        other => format!("'\\x{other:02x}'"),
    }
}
