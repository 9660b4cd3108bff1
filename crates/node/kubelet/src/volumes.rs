//! The seam to whatever sets up pods' volumes.
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use skiff_pod::env::RefKind;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// What a user sees: the text of a FailedMount event.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct VolumeError(pub String);

/// Volumes that are ready.
#[derive(Clone, Debug, Default)]
pub struct MountedVolumes {
    /// By the volume's name in the pod.
    pub paths: BTreeMap<String, PathBuf>,
    /// Volumes that nobody may write to.
    pub read_only: BTreeSet<String>,
    /// Block devices by volume.
    pub devices: BTreeMap<String, PathBuf>,
    /// When [`Volumes::set_up`] has to be called again at the latest (tokens that run out).
    pub refresh_in: Option<Duration>,
}

#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Makes all volumes of the pod ready, and brings those that are up to date (ConfigMaps, Secrets, tokens, downward
    /// API). `pod_dir` is the pod's own folder. Called at every sync: what is right already is left alone.
    async fn set_up(&self, pod: &Pod, pod_dir: &Path, pod_ips: &[IpAddr]) -> Result<MountedVolumes, VolumeError>;

    /// Makes `sub_path` below `volume` safe to mount and gives the path to mount; nothing may lead out of the volume.
    async fn sub_path(&self, pod_dir: &Path, volume: &Path, sub_path: &str, key: &str) -> Result<PathBuf, VolumeError>;

    /// Takes everything of the pod away. What isn't there is no error.
    async fn tear_down(&self, pod_uid: &str, pod_dir: &Path) -> Result<(), VolumeError>;

    /// The ConfigMaps and Secrets that the pod's volumes show, in its namespace.
    fn references(&self, pod: &Pod) -> Vec<(RefKind, String)> {
        let volumes = skiff_pod::view::spec(pod).volumes.as_deref().unwrap_or_default();
        let mut all = Vec::new();
        for v in volumes {
            all.extend(v.config_map.as_ref().map(|c| (RefKind::ConfigMap, c.name.clone())));
            all.extend(v.secret.as_ref().and_then(|s| s.secret_name.clone()).map(|n| (RefKind::Secret, n)));
            for source in v.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
                all.extend(source.config_map.as_ref().map(|c| (RefKind::ConfigMap, c.name.clone())));
                all.extend(source.secret.as_ref().map(|s| (RefKind::Secret, s.name.clone())));
            }
        }
        all
    }
}

/// For pods without volumes: asks for none succeed, all others are refused by name.
pub struct NoVolumes;

#[async_trait]
impl Volumes for NoVolumes {
    async fn set_up(&self, pod: &Pod, _pod_dir: &Path, _pod_ips: &[IpAddr]) -> Result<MountedVolumes, VolumeError> {
        match skiff_pod::view::spec(pod).volumes.iter().flatten().next() {
            Some(v) => Err(VolumeError(format!("no volume plugin matched for volume {:?}", v.name))),
            None => Ok(MountedVolumes::default()),
        }
    }
    async fn sub_path(&self, _pod_dir: &Path, _volume: &Path, sub_path: &str, _key: &str) -> Result<PathBuf, VolumeError> {
        Err(VolumeError(format!("subPath {sub_path:?} of no volume")))
    }
    async fn tear_down(&self, _pod_uid: &str, _pod_dir: &Path) -> Result<(), VolumeError> {
        Ok(())
    }
}
