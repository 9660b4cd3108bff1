//! Server-side apply: who manages which field, how an applied configuration merges into the live object, and where
//! two managers are in conflict. The behaviour is that of structured-merge-diff v6 and of the field manager in front
//! of it (KEP-555).
//!
//! Layers, bottom up: [`Element`] and [`FieldSet`] name fields; `wire` writes sets as FieldsV1; [`Shape`] says how a
//! value merges, out of the built-in tables, a CRD's structural schema, or nothing (deduced); `walk`, `compare`,
//! `merge` and `remove` are functions over a value and its shape; `updater` plays one apply or update against all
//! managers; [`Managed`] is `metadata.managedFields`. Everything is pure: the time of a change is handed in.
//!
//! Not here: defaults, validation, conversion between versions (managers of another version are compared by path).

mod compare;
mod conflict;
mod element;
mod last_applied;
mod managed;
mod merge;
mod operation;
mod overlay;
mod remove;
mod scale;
mod set;
mod shape;
mod updater;
mod walk;
mod wire;

pub use conflict::Conflict;
pub use element::{Element, Path, Scalar};
pub use managed::{Entry, Managed, ManagerId, Operation};
pub use operation::{ApplyError, Tracker};
pub use overlay::overlay;
pub use scale::{managers_of_scale, managers_of_scaled};
pub use set::FieldSet;
pub use shape::{Relation, Shape};
pub use walk::WalkError;
