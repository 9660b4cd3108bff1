//! The image store of the embedded runtime: pull, import, unpack, mount, collect.
//!
//! * [`ImageService`] is the whole: it implements the contract's `Images` and `Snapshots`, imports archives and collects
//!   garbage.
//! * [`store`] owns what is on disk and when it counts: a layer or a blob has its name only once it is complete and its
//!   digest is right; records are replaced whole.
//! * [`pull`] and [`archive`] bring images in. Both end in one path: bytes are digested, expanded, digested again and
//!   unpacked in one go, so a layer is written once and never in its compressed form.
//! * `coming` knows which images the archives of a folder are about to bring: who asks for one waits for it.
//! * [`unpack`] writes layers. The kernel resolves every path inside the layer's directory: no archive can reach outside.
//! * [`rootfs`] mounts layers for a container.
//! * [`reference`], [`registries`], [`gc`] decide, without doing anything.
//!
//! Every size that an image decides is limited: see [`limits::Limits`]. This crate keeps no credentials, chooses no pull
//! policy and doesn't know pods.

pub mod archive;
mod assemble;
mod coming;
pub mod digest;
pub mod error;
pub mod gc;
mod ingest;
pub mod limits;
pub mod manifest;
pub mod pull;
pub mod reference;
pub mod registries;
pub mod remote;
mod rooted;
pub mod rootfs;
mod service;
pub mod store;
pub mod tarball;
mod tls;
pub mod unpack;

pub use error::{Error, Result};
pub use service::{Clock, ImageService, Options};
