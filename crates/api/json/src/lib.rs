//! JSON values, for the moment in which an object is decoded, changed and written again.
//!
//! [`Value`] has the shape and the methods of `serde_json::Value`; what differs is its [`Map`]: names are kept inline (short ones
//! take no allocation), members stand in the order in which they came, and few members are found by looking at each, without a
//! hash. Objects of the API are nearly all so: a create or an apply spent a third of its time with the hashes and the allocations of
//! `serde_json`'s maps. Large maps (labels, data, managed fields of thousands) get an index whose hash is keyed at random, so that
//! nobody can choose names that collide.
//!
//! Reading and writing of text is `serde_json`'s, through serde; [`parse`] and [`Value::write_to`] do the same for trees alone, at a third
//! of the cost. [`RawValue`] is for text alone: it cannot be taken out of a tree.

mod access;
mod convert;
mod map;
pub mod pass;
mod serde_tree;
mod text;
mod value;

pub use access::Index;
pub use map::{Entry, Map};
pub use serde_json::{
    Deserializer, Error, Number, Result, Serializer, from_reader, from_slice, from_str, to_string, to_string_pretty, to_vec, to_vec_pretty, to_writer,
    to_writer_pretty,
    value::{RawValue, to_raw_value},
};
pub use smol_str::SmolStr as Key;
pub use text::{is_object, parse, write_text};
pub use value::Value;

#[doc(hidden)]
pub mod literal {
    pub use serde_json::json;
}

/// A [`Value`] out of a literal, as `serde_json::json!` has it: `json!({"a": [1, null, x]})`.
#[macro_export]
macro_rules! json {
    ($($text:tt)+) => { $crate::Value::from($crate::literal::json!($($text)+)) };
}

/// A value of a type out of a tree.
///
/// # Errors
/// What the type's own deserialisation says.
pub fn from_value<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    T::deserialize(value)
}

/// The tree of what a value serialises to.
///
/// # Errors
/// When its serialisation fails, or has a map whose keys aren't text.
pub fn to_value<T: serde::Serialize>(value: T) -> Result<Value> {
    serde_json::to_value(value).map(Value::from)
}
