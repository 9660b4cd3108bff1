//! Objects in and out of bytes: JSON, YAML and protobuf, by the tables of skiff-schema.
//!
//! One canonical form stands in the middle: the JSON that Go would write after it has read the same input. Fields are in
//! Go's order, maps are sorted by key, what Go's omitempty drops is gone, quantities and times are in their canonical spelling.
//!
//! | from | to | function |
//! |---|---|---|
//! | JSON bytes | canonical value and strict findings | [`decode_json`], [`decode_custom_json`] |
//! | value | canonical bytes | [`encode_json`], [`encode_custom_json`] |
//! | YAML bytes | JSON bytes | [`yaml_to_json`] |
//! | protobuf | canonical value | [`decode_protobuf`] |
//! | canonical bytes | protobuf | [`encode_protobuf`], [`ProtobufList`], [`watch_frame`] |
//! | stored bytes | a value in them, its end | [`value_at`], [`text_at`], [`value_end`] |
//! | OpenAPI v2 document | protobuf | [`openapi_v2_to_protobuf`] |
//! | OpenAPI v3 document | protobuf | [`openapi_v3_to_protobuf`] |
//!
//! Errors carry upstream's texts, since clients show and match them. Defaults live in [`defaults`]; validation is not done here.

mod api;
pub mod defaults;
mod error;
mod json;
mod limits;
mod proto;
mod yaml;

pub use api::{Decoded, TypeMeta, decode_custom_json, decode_json, decode_owned, decode_value, encode_custom_json, encode_json, settle, type_meta};
pub use error::{DecodeError, strict_message, summary};
pub use limits::{MAX_BODY, MAX_DEPTH, MAX_YAML_EXPANDED};
pub use proto::{
    FromProtobuf, ProtobufList, decode_protobuf, encode_message, encode_protobuf, envelope, is_protobuf, openapi_v2_to_protobuf, openapi_v3_to_protobuf,
    retyped_protobuf, split_frames, watch_frame,
};
pub use skiff_json::pass::{plain_string, string_end, text_at, value_at, value_end};
pub use yaml::{json_to_yaml, yaml_to_json, yaml_to_value};
