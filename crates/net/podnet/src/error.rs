//! What can go wrong, with the step and the object.

use std::path::PathBuf;

use skiff_netlink::NetlinkError;
use skiff_nft::NftError;

#[derive(Debug, thiserror::Error)]
pub enum PodNetError {
    #[error("{step}")]
    Netlink {
        step: String,
        #[source]
        source: NetlinkError,
    },
    #[error("pod network rules")]
    Nft(#[from] NftError),
    #[error("{step} {}", path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the pod CIDR {0} has no free address")]
    Exhausted(String),
    #[error("{0}")]
    NotReady(String),
    #[error("{0}")]
    Invalid(String),
}

pub(crate) fn at(step: impl Into<String>) -> impl FnOnce(NetlinkError) -> PodNetError {
    move |source| PodNetError::Netlink { step: step.into(), source }
}
