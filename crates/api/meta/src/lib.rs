//! The vocabulary of the Kubernetes API, shared by every layer.
//!
//! Newtypes carry the proof of a parse: [`Revision`], [`Uid`], [`GroupVersionKind`], [`Quantity`]. [`Status`] is
//! the one error that a client ever sees. [`Head`] reads the metadata of an object out of its canonical bytes
//! without decoding the rest. Nothing here does IO or knows any single kind.

pub mod go;
mod group;
mod head;
mod managed;
mod name;
mod quantity;
mod revision;
mod selector;
mod status;
mod time;
pub mod value;

pub use group::{GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource, version_priority};
pub use head::{Head, OwnerRef};
pub use managed::{bare_metadata, distrust, folded, type_of, unfold, unmanaged};
pub use name::{NameError, generate_name, is_dns1035_label, is_dns1123_label, is_dns1123_subdomain, is_label_value, is_qualified_name};
pub use quantity::{Quantity, QuantityError, spelled, spelled_in_milli};
pub use revision::{Revision, Uid};
pub use selector::{FieldSelector, LabelSelector, Requirement, SelectorError, SetOp};
pub use status::{Cause, Reason, Status, StatusDetails};
pub use time::{MicroTime, Timestamp};
