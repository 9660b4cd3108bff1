//! Continue tokens: where the next page starts, and of which revision it is.
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use skiff_meta::{Revision, Status};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    v: String,
    /// -1: whatever is there now.
    rv: i64,
    /// The last key that was handed out, behind the prefix, with a NUL as upstream's tokens end.
    start: String,
}

const VERSION: &str = "meta.k8s.io/v1";

impl Token {
    pub fn new(revision: Option<Revision>, after: &str) -> Self {
        Self { v: VERSION.into(), rv: revision.map_or(-1, |r| r.0 as i64), start: format!("{after}\0") }
    }
    pub fn revision(&self) -> Option<Revision> {
        (self.rv > 0).then_some(Revision(self.rv as u64))
    }
    /// The key, behind the prefix, that the page follows.
    pub fn after(&self) -> &str {
        self.start.trim_end_matches('\0')
    }
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(skiff_json::to_vec(self).unwrap_or_default())
    }
    pub fn decode(text: &str) -> Result<Self, Status> {
        let bad = |why: String| Status::bad_request(format!("invalid continue token: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|e| bad(format!("continue key is not valid: {}", illegal(e))))?;
        let token: Token = skiff_json::from_slice(&bytes).map_err(|e| bad(format!("continue key is not valid: {}", garbled(&bytes, &e))))?;
        if token.v != VERSION {
            return Err(bad(format!("continue key is not valid: server does not recognize this encoded version {:?}", token.v)));
        }
        if token.after().is_empty() {
            return Err(bad("continue key is not valid: encoded start key empty".into()));
        }
        if token.rv == 0 {
            return Err(bad("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into()));
        }
        Ok(token)
    }
}

/// In Go's words.
fn illegal(e: base64::DecodeError) -> String {
    let at = match e {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol { offset: at, .. } => at,
        base64::DecodeError::InvalidLength(n) => n.saturating_sub(1),
        base64::DecodeError::InvalidPadding => 0,
    };
    format!("illegal base64 data at input byte {at}")
}

/// The same of bytes that do not even begin like JSON.
fn garbled(bytes: &[u8], e: &skiff_json::Error) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.trim_start().chars().next() {
        Some(c) if e.is_syntax() && !matches!(c, '{' | '[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n') => {
            format!("invalid character {c:?} looking for beginning of value")
        }
        None => "unexpected end of JSON input".to_owned(),
        _ => e.to_string(),
    }
}

/// What a client is told whose token names a compacted revision.
pub const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn tokens_survive_the_trip() {
        for rv in [Some(Revision(7)), None] {
            let t = Token::new(rv, "a/b");
            let back = Token::decode(&t.encode()).unwrap();
            assert_eq!((back.revision(), back.after()), (rv, "a/b"));
        }
        assert_eq!(Token::decode("%%").unwrap_err().code, 400);
        assert!(Token::decode(&URL_SAFE_NO_PAD.encode("{}")).is_err());
    }
}
