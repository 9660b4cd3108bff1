//! Images, and root file systems made of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{ContainerId, FsStats, ImageId, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub id: ImageId,
    /// Full names such as `docker.io/library/nginx:1.29`.
    pub tags: Vec<String>,
    /// `docker.io/library/nginx@sha256:…`
    pub digests: Vec<String>,
    /// Bytes on disk.
    pub size: u64,
    /// The user of the configuration, a number or a name: the kubelet checks `runAsNonRoot` with it.
    pub user: String,
    /// Garbage collection leaves it alone.
    pub pinned: bool,
}

/// The part of an image's configuration that a container needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    pub working_dir: String,
    pub user: String,
    pub stop_signal: Option<String>,
    pub volumes: Vec<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum PullAuth {
    Basic {
        username: String,
        password: String,
    },
    /// A bearer token for the registry itself.
    Token(String),
}

impl std::fmt::Debug for PullAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PullAuth(…)")
    }
}

/// Bytes fetched, of how many when known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub total: Option<u64>,
}

#[async_trait]
pub trait Images: Send + Sync {
    async fn list(&self) -> Result<Vec<Image>>;

    /// By id, tag or digest, short names as well (`nginx` is `docker.io/library/nginx:latest`).
    async fn status(&self, reference: &str) -> Result<Option<Image>>;

    /// Fetches what is missing. `auths` are tried in turn, then without any.
    async fn pull(&self, reference: &str, auths: &[PullAuth], progress: Option<watch::Sender<Progress>>) -> Result<Image>;

    /// Removes a name, and the image when no name is left; by id, all of it. What isn't there is no error.
    async fn remove(&self, reference: &str) -> Result<()>;

    /// The store's own use of its file system.
    async fn fs_info(&self) -> Result<(PathBuf, FsStats)>;
}

/// A mounted root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedRootfs {
    /// Mounted in the daemon's mount namespace, writable.
    pub path: PathBuf,
    pub config: ImageConfig,
}

/// Names of this beginning are no containers: they are images that the node agent mounted for pods' volumes. A runtime
/// that clears up after itself leaves them, until everything ends.
pub const VOLUME_SNAPSHOT: &str = "volume-";

/// What the embedded runtime needs of the image store.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Mounts the image's layers with a writable one on top. Called again for the same container it answers the same.
    async fn prepare(&self, image: &ImageId, container: &ContainerId) -> Result<PreparedRootfs>;

    /// Unmounts it and removes the writable layer. What isn't there is no error.
    async fn release(&self, container: &ContainerId) -> Result<()>;

    /// The writable layer's size.
    async fn usage(&self, container: &ContainerId) -> Result<FsStats>;

    /// Containers with a snapshot, so that leftovers of a crash can be released.
    async fn prepared(&self) -> Result<Vec<ContainerId>>;
}
