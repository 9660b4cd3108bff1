//! nftables: a ruleset as a value, the difference of two, and one atomic transaction.
//!
//! A [`Ruleset`] is one table: chains of rules, sets, and maps with their elements. [`diff`] gives the [`Transaction`] that turns
//! one into another and touches nothing that is the same: an element that changes costs one message, a chain is rewritten
//! only when its rules differ. [`Nft::apply`] sends a transaction as one netlink batch: the kernel takes all of it or
//! none. [`Nft::observe`] reads back what the kernel has, for verification and for taking over after a restart: each rule carries a
//! digest of itself as its comment.
//!
//! Not here: what the rules should say (the rules and podnet crates), and stateful elements that packets add to dynamic
//! sets: those belong to the kernel and survive as long as their set keeps its shape.

mod diff;
mod encode;
mod expr;
mod kernel;
mod model;
mod observe;
mod transaction;

pub use diff::{create, diff};
pub use expr::{Base, CmpOp, CtKey, Expr, Fib, MetaKey, NatKind, Register, Reject, Verdict};
pub use kernel::{Nft, NftError};
pub use model::{BaseChain, Chain, ChainType, Family, Field, Hook, Key, Rule, Ruleset, Set, Value};
pub use observe::Observed;
pub use transaction::{Op, Transaction};
