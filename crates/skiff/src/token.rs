//! The token by which a machine joins: `K10<fingerprint>::<id>.<secret>`.
//!
//! The fingerprint (SHA-256 of the DER form of the server's certificate authority) lets the machine recognise the server
//! before it says anything; id and secret are a bootstrap token, good for asking for a certificate and nothing else.
use anyhow::{Context, bail};
use std::fmt;
use std::path::Path;

/// Larger token files are refused, bytes.
const MAX_SIZE: u64 = 4096;

#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Of the server's certificate authority, lower-case hexadecimal.
    pub fingerprint: String,
    pub id: String,
    pub secret: String,
}

impl Token {
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let form = "a token has the form K10<fingerprint>::<id>.<secret>; the server keeps one in <data-dir>/server/node-token";
        let rest = text.trim().strip_prefix("K10").context("it does not name the server's certificate authority").context(form)?;
        let (fingerprint, credential) = rest.split_once("::").context(form)?;
        let (id, secret) = credential.split_once('.').context(form)?;
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let hex = fingerprint.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if fingerprint.len() != 64 || !hex || id.len() != 6 || secret.len() != 16 || !plain(id) || !plain(secret) {
            bail!(form);
        }
        Ok(Self { fingerprint: fingerprint.into(), id: id.into(), secret: secret.into() })
    }
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let meta = std::fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
        if meta.len() > MAX_SIZE {
            bail!("read {}: the file is larger than {MAX_SIZE} bytes", path.display());
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("read {}", path.display()))
    }
    /// A new one. `random` gives numbers below the one it is given.
    pub fn make(fingerprint: String, mut random: impl FnMut(usize) -> usize) -> Self {
        const SIGNS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = |n: usize| (0..n).map(|_| char::from(SIGNS[random(SIGNS.len()) % SIGNS.len()])).collect();
        Self { fingerprint, id: text(6), secret: text(16) }
    }
    /// What the API server takes as a bearer token.
    pub fn bearer(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "K10{}::{}.{}", self.fingerprint, self.id, self.secret)
    }
}

/// Without the secret: tokens are seen in logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut next = 0;
        let token = Token::make("ab".repeat(32), |n| {
            next += 7;
            next % n
        });
        assert_eq!(Token::parse(&format!("{token}\n")).unwrap(), token);
        assert!(!format!("{token:?}").contains(&token.secret));
        let f = "ab".repeat(32);
        for bad in [
            String::new(),
            "abcdef.0123456789abcdef".into(),
            format!("K10{f}::abcdef"),
            format!("K10{f}::ABCDEF.0123456789abcdef"),
            format!("K10{f}::server:0123"),
            "K10ab::abcdef.0123456789abcdef".into(),
        ] {
            assert!(Token::parse(&bad).is_err(), "{bad}");
        }
    }
}
