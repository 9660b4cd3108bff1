//! Protobuf in and out, transcoded by the tables: no message structs, no generated code.

mod decode;
mod encode;
mod frame;
mod openapi;
mod openapi_v3;
mod retype;
mod wire;

pub use decode::{FromProtobuf, decode_protobuf, is_protobuf};
pub use encode::{ProtobufList, encode_message, encode_protobuf, envelope};
pub use frame::{split_frames, watch_frame};
pub use openapi::openapi_v2_to_protobuf;
pub use openapi_v3::openapi_v3_to_protobuf;
pub use retype::retyped_protobuf;
