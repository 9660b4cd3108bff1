use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{ContainerId, FsStats, Image, ImageConfig, ImageId, Images, PreparedRootfs, Progress, PullAuth, Result, RuntimeError, Snapshots};

/// A registry that has every image, except those told to fail.
#[derive(Default)]
pub struct FakeImages {
    present: Mutex<BTreeMap<String, Image>>,
    failures: Mutex<BTreeMap<String, String>>,
    prepared: Mutex<BTreeSet<String>>,
}

impl FakeImages {
    /// Puts an image into the store under this name.
    pub fn add(&self, reference: &str) -> Image {
        let image = Image {
            id: ImageId::new(format!("sha256:fake-{reference}")),
            tags: vec![reference.to_owned()],
            digests: Vec::new(),
            size: 1 << 20,
            user: String::new(),
            pinned: false,
        };
        self.present.lock().insert(reference.to_owned(), image.clone());
        image
    }

    /// Pulls of this name fail with this message from now on.
    pub fn fail_pull(&self, reference: &str, message: &str) {
        self.failures.lock().insert(reference.to_owned(), message.to_owned());
    }

    /// And succeed again.
    pub fn heal_pull(&self, reference: &str) {
        self.failures.lock().remove(reference);
    }
}

#[async_trait]
impl Images for FakeImages {
    async fn list(&self) -> Result<Vec<Image>> {
        Ok(self.present.lock().values().cloned().collect())
    }

    async fn status(&self, reference: &str) -> Result<Option<Image>> {
        let present = self.present.lock();
        Ok(present.values().find(|image| image.id.as_str() == reference || image.tags.iter().any(|tag| tag == reference)).cloned())
    }

    async fn pull(&self, reference: &str, _auths: &[PullAuth], progress: Option<watch::Sender<Progress>>) -> Result<Image> {
        if let Some(message) = self.failures.lock().get(reference) {
            return Err(RuntimeError::failed(format!("pull image {reference:?}"), message.clone()));
        }
        let image = self.add(reference);
        if let Some(progress) = progress {
            progress.send_replace(Progress { done: image.size, total: Some(image.size) });
        }
        Ok(image)
    }

    async fn remove(&self, reference: &str) -> Result<()> {
        self.present.lock().retain(|name, image| name != reference && image.id.as_str() != reference);
        Ok(())
    }

    async fn fs_info(&self) -> Result<(PathBuf, FsStats)> {
        let used = self.present.lock().values().map(|image| image.size).sum();
        Ok((PathBuf::from("/fake/images"), FsStats { timestamp: 0, used, inodes_used: 0 }))
    }
}

/// Paths that lead nowhere: `/fake/snapshots/NAME`.
#[async_trait]
impl Snapshots for FakeImages {
    async fn prepare(&self, image: &ImageId, container: &ContainerId) -> Result<PreparedRootfs> {
        if self.status(image.as_str()).await?.is_none() {
            return Err(RuntimeError::NotFound { kind: "image", name: image.to_string() });
        }
        self.prepared.lock().insert(container.to_string());
        Ok(PreparedRootfs { path: PathBuf::from("/fake/snapshots").join(container.as_str()), config: ImageConfig::default() })
    }
    async fn release(&self, container: &ContainerId) -> Result<()> {
        self.prepared.lock().remove(container.as_str());
        Ok(())
    }
    async fn usage(&self, _container: &ContainerId) -> Result<FsStats> {
        Ok(FsStats::default())
    }
    async fn prepared(&self) -> Result<Vec<ContainerId>> {
        Ok(self.prepared.lock().iter().map(|c| ContainerId::from(c.as_str())).collect())
    }
}
