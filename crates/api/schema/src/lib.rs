//! Tables of facts about every built-in type of the Kubernetes API.
//!
//! What upstream knows through Go's reflection (field order, tags, list kinds, keys, defaults), this crate
//! knows through tables in read-only data: nothing is parsed at start, nothing is on the heap. The facts come
//! from `facts/types.txt`, which `cargo xtask codegen` writes; the build script turns them into statics.
//!
//! ```
//! let pod = skiff_schema::by_gvk("", "v1", "Pod").unwrap();
//! let spec = pod.field("spec").and_then(|f| f.ty.struct_type()).unwrap();
//! let containers = spec.field("containers").unwrap();
//! assert_eq!(containers.keys(), ["name"]);
//! assert!(containers.patch.merge);
//! ```
//!
//! - [`Type`], [`Field`], [`Ty`], [`Kind`]: the shape of the facts.
//! - [`by_gvk`], [`by_name`], [`kinds`], [`types`]: the ways in.
//! - [`openapi`]: definitions of OpenAPI documents.
//!
//! It deliberately does not decode, default or validate: those crates read these tables.

mod lookup;
pub mod openapi;
mod tables;
mod types;

pub use lookup::{by_gvk, by_name, is_meta_kind, kinds, types};
pub use types::{Extra, Field, Kind, ListType, MapOf, Patch, Ty, Type};
