//! The three patches that are not server-side apply: JSON patch (RFC 6902), JSON merge patch (RFC 7386) and strategic
//! merge patch, each a function from a value and a patch to a value.
//!
//! Upstream's wording and quirks are kept where clients see them. Schema facts come from the tables; custom resources
//! have none, so a strategic patch of them is refused further up (415).

mod json;
mod list;
mod merge;
mod order;
mod strategic;

pub use json::{json_patch, json_type};
pub use merge::merge_patch;
pub use strategic::{shown, strategic_patch};

use thiserror::Error;

#[derive(Debug, Error, PartialEq)]
pub enum PatchError {
    /// The patch is no patch (400).
    #[error("{0}")]
    Malformed(String),
    /// A directive that nobody knows (500, as upstream says it).
    #[error("{0}")]
    Unknown(String),
    /// The patch does not fit the object (422).
    #[error("{0}")]
    Unfit(String),
    /// A `test` found another value (422).
    #[error("testing value {0} failed: test failed")]
    TestFailed(String),
    /// More operations than a patch may have (413).
    #[error("The allowed maximum operations in a JSON patch is {max}, got {got}")]
    TooMany { max: usize, got: usize },
}
