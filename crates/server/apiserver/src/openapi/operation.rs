//! One operation, apart from the dialect that it is written in.
use super::parameters::Parameter;
use skiff_meta::GroupVersionKind;

/// What a request or an answer carries.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A definition's name.
    Definition(String),
    Text,
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// `get`, `post`, …
    pub method: &'static str,
    /// `list`, `patch`, `connect`, …
    pub action: &'static str,
    pub id: String,
    pub tag: String,
    pub description: String,
    pub parameters: &'static [Parameter],
    pub body: Option<Body>,
    pub answer: Content,
    /// Codes beside 401.
    pub codes: &'static [u16],
    /// Also streams watch events.
    pub streams: bool,
    pub kind: GroupVersionKind,
    pub protobuf: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Body {
    pub definition: String,
    pub media: &'static [&'static str],
    pub required: bool,
}

/// A path with its operations.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub path: String,
    /// Steps in braces, with what they name.
    pub steps: Vec<(&'static str, String)>,
    pub parameters: Vec<Parameter>,
    pub operations: Vec<Operation>,
}
