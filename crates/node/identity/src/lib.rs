//! A node's certificates: as whom it speaks to the API, and what its own server shows.
//!
//! [`obtain`] asks the cluster's signers by a CertificateSigningRequest, [`kept`] keeps what they gave, [`keep_client`] and
//! [`keep_serving`] renew it before it ends, without a restart.
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/>
//!
//! Not here: by what a machine that joins is trusted for the first time (the binary's agent role), who approves and signs
//! (`skiff-cluster`).

mod keep;
pub mod kept;
mod request;
mod serving;

pub use keep::{keep_client, keep_serving};
pub use request::{CLIENT, Kind, SERVING, obtain};
pub use serving::Serving;

use skiff_client::tls::{HttpsError, Identity};
use skiff_meta::Status;
use skiff_pki::{Leaf, PkiError, Profile, Usage};
use std::net::IpAddr;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("the server refuses the certificate request")]
    Refused(#[source] Status),
    #[error("certificate request {request}: {why}")]
    Denied { request: String, why: String },
    #[error("make or keep this node's certificate")]
    Pki(#[from] PkiError),
    #[error("read {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("use the renewed client certificate")]
    Client(#[source] Box<HttpsError>),
    #[error("use the {what}: {why}")]
    Unusable { what: &'static str, why: String },
}

/// The user that a node is to the API.
pub fn user(node: &str) -> String {
    format!("system:node:{node}")
}

pub fn client_profile(node: &str) -> Profile {
    Profile { common_name: user(node), organizations: vec!["system:nodes".into()], usage: Usage::Client, ..Profile::default() }
}

fn serving_profile(node: &str, address: IpAddr) -> Profile {
    Profile { dns_names: vec![node.to_owned()], addresses: vec![address], usage: Usage::Server, ..client_profile(node) }
}

/// The leaf as connections to the API take it.
pub fn identity(leaf: &Leaf) -> Identity {
    Identity { certificate: leaf.certificate.clone().into_bytes(), key: leaf.key.clone().into_bytes() }
}
