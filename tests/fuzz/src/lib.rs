//! Every decoder of outside bytes as a fuzz target: it takes any bytes, and neither panics nor overflows the stack.
//!
//! [`targets`] has the entry functions with inputs to begin from, [`mutate`] changes inputs, [`campaign`] runs a target for
//! a while on stable Rust; the folder `fuzz` at the project's root gives the same targets to libFuzzer.
//!
//! Not here: whether an answer is right. A target may check what holds for every input (a round trip), no more.

pub mod campaign;
pub mod mutate;
pub mod targets;

pub use targets::{ALL, Target, by_name};
