//! The one write path, and the table of resources that it serves.
//!
//! A resource is a row of the [`table`]: names, scope, versions, subresources, printer columns, selectable fields and a
//! [`strategy`] of flags and small functions. Every create, update, patch, apply and delete of every row runs through
//! the same pipeline in [`write`](mod@write): authorise → decode strictly → default → mutate → validate → managed
//! fields → canonical bytes → compare-and-swap. Reads ([`read`](mod@read)) hand the store's own bytes on.
//!
//! [`Registry`] implements `skiff_request::Service`. It knows nothing of HTTP, and reaches the disk through the
//! store's contract alone.

mod body;
mod counts;
mod index;
pub mod print;
mod read;
mod registry;
pub mod review;
mod selection;
pub mod shape;
pub mod strategy;
pub mod table;
mod upkeep;
mod write;

pub use index::RowIndexer;
pub use registry::{Options, Registry};
pub use review::{Amounts, Tokens, Usage, Usages};
pub use write::services::Ranges;

use skiff_meta::value;
