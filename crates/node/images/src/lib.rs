//! Pull, import, unpack, garbage collection of images
pub mod digest;
pub mod error;
pub mod limits;
pub mod reference;
mod rooted;
pub mod tarball;
pub mod unpack;
