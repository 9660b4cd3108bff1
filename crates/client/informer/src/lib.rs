//! Shared informers over bytes.
//!
//! One list and one watch a selection, however many ask: [`Informers::of`] returns a handle on the shared
//! [`Informer`]. It keeps a [`Row`] an object: the server's own bytes (shared, when in process), uid, labels, owners.
//! A typed view is made for a moment by [`Typed::get`] and dropped; nothing decoded is kept.
//!
//! An informer never ends by itself: it lists again when the server says 410, and waits with a jittered back-off when
//! the server is away. Subscribers are told of every change in order; a relist reaches them as the difference.
//! What it deliberately does not do: resyncs by timer, transforms, writes.

mod backoff;
mod feed;
mod informer;
mod row;
mod set;
mod store;

pub use informer::{Informer, Typed};
pub use row::{Change, ChangeKind, Owner, Row, key_of, split_key};
pub use set::{Informers, Selection};
