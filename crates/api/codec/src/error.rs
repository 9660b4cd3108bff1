//! What can be wrong with bytes from outside, in upstream's words.

use thiserror::Error;

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The text is not JSON, or is nested too deep.
    #[error("couldn't get version/kind; json parse error: {0}")]
    Syntax(String),
    /// The text is JSON, but a value has the wrong type or form.
    #[error("{0}")]
    Value(String),
    /// The text is not YAML.
    #[error("error converting YAML to JSON: {0}")]
    Yaml(String),
    /// The bytes are not the protobuf message that they should be.
    #[error("provided data does not appear to be a protobuf message: {0}")]
    Protobuf(String),
    /// The body is larger than the server takes.
    #[error("limit exceeded: the body has {0} bytes, the limit is {limit}", limit = crate::limits::MAX_BODY)]
    TooLarge(usize),
    /// No table describes the kind.
    #[error("no kind {kind:?} is registered for version {version:?}")]
    UnknownKind {
        /// `group/version`, or the version alone in the core group.
        version: String,
        kind: String,
    },
}

impl DecodeError {
    /// The message of the 400 that upstream answers a write with.
    pub fn bad_request(&self, kind: &str, version: &str, expected: &str, body: &[u8]) -> String {
        match self {
            Self::Value(text) => {
                format!("{kind} in version {version:?} cannot be handled as a {expected}: {text}")
            }
            other => format!("the object provided is unrecognized (must be of type {expected}): {other} ({})", summary(body)),
        }
    }
}

/// The first 30 bytes of a body, in hexadecimal unless they look like JSON, as upstream quotes a body that it cannot read.
pub fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let shown = body.get(..SHOWN).unwrap_or(body);
    let text = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|b| format!("{b:02x}")).collect(),
    };
    if body.len() > SHOWN { format!("{text} ...") } else { text }
}

/// The error text of strict field validation.
pub fn strict_message(findings: &[String]) -> String {
    format!("strict decoding error: {}", findings.join(", "))
}
