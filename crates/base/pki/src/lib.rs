//! Certificate authorities, leaf certificates and keys of a cluster, kept as PEM files.
//!
//! Everything is made at the first start and renewed when it is about to expire or no longer fits (a new address).
//! Keys are P-256; key files have mode 0600 and are written whole: temporary file, fsync, rename. A torn or foreign
//! file is an error that names it, never silently replaced.
//! A node's certificates are signed elsewhere: [`request`] asks for them.
//! A server that shows a certificate is judged as Go's clients judge it ([`servers_of`]).
//! Not here: who trusts whom; that is the binary's wiring.

mod authority;
mod blocks;
mod file;
mod holder;
mod leaf;
mod request;
mod servers;
mod sign;
mod usages;

pub use authority::Authority;
pub use blocks::{check_anchors, check_issued, check_pair};
pub use file::{read_or_make, write_private, write_public};
pub use holder::{der_of, fingerprint, pem_of, renew_at, request, stub_request};
pub use leaf::{Leaf, Profile, Usage, expiry};
pub use request::{Fault, Request, examine_stub};
pub use servers::servers_of;
pub use sign::Grant;
pub use usages::Usages;

use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum PkiError {
    #[error("{step} {}", path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} holds no usable certificate or key ({why}); restore it, or remove it to have a new one made", path.display())]
    Unusable { path: PathBuf, why: String },
    #[error("make a certificate for {name}")]
    Make {
        name: String,
        #[source]
        source: rcgen::Error,
    },
    /// The text is what a client sees.
    #[error("{0}")]
    Request(String),
}

/// A new P-256 private key as PKCS#8 PEM.
pub fn new_key() -> Result<String, PkiError> {
    let make = |source| PkiError::Make { name: "a key".into(), source };
    Ok(rcgen::KeyPair::generate().map_err(make)?.serialize_pem())
}
