//! The generated statics.

#![allow(clippy::all, reason = "generated from facts/types.txt by the build script")]

use crate::types::{Extra, Field, Kind, ListType, MapOf, Patch, Ty, Type};

include!(concat!(env!("OUT_DIR"), "/tables.rs"));
