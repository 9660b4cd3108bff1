//! CEL as the Kubernetes API speaks it.
//!
//! A [`Program`] is parsed once (by the cel crate's parser) and evaluated many times over a [`Scope`] of variables, each
//! time within a [`Budget`]: expressions come from users, so every step is counted and the bill has a limit. The
//! evaluator is ours because it must count, absorb errors in `&&` and `||` as CEL does, know optional values, lazy
//! variables and typed literals (`Object{…}`), and ask the scope about functions of its own (`authorizer`). Library
//! functions, from strings to quantities, are kube-cel's.
//!
//! [`check`] finds types and worst-case costs before anything is evaluated, where variables have declared types. Without
//! it, what upstream refuses when it compiles comes as an error of evaluation, but for names that nobody declared.

mod budget;
pub mod check;
mod counts;
mod evaluate;
mod literal;
mod operators;
mod program;
mod request;
mod special;
mod value;

pub use budget::Budget;
pub use counts::metrics;
pub use evaluate::{Scope, Variables, convert};
pub use kube_cel::cel::objects::{Key, Map, Opaque, Value};
pub use program::{CompileError, Program};
pub use request::RequestNames;
pub use special::{quantity, semver};
pub use value::{bytes, from_json, map_of, optional_of, to_json};

use thiserror::Error;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EvalError {
    #[error("no such key: {0}")]
    NoSuchKey(String),
    #[error("no such overload")]
    NoSuchOverload,
    #[error("undeclared reference to '{0}'")]
    Undeclared(String),
    #[error("operation cancelled: actual cost limit exceeded")]
    OutOfBudget,
    #[error("{0}")]
    Other(String),
}
