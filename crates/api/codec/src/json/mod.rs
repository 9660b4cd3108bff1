//! JSON in and out, as Go's encoding/json does it with the tables in the place of reflection.

pub(crate) mod base64;
pub(crate) mod decode;
pub(crate) mod scan;
pub(crate) mod settle;
pub(crate) mod special;
pub(crate) mod strict;
pub(crate) mod time;
pub(crate) mod untyped;
pub(crate) mod write;
pub(crate) mod zero;
