//! The contract's [`Images`] and [`Snapshots`] over the store. Everything that touches the disk runs on blocking threads.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use skiff_cri::{ContainerId, FsStats, Image, ImageId, Images, PreparedRootfs, Progress, PullAuth, Result as CriResult, RuntimeError, Snapshots};
use tokio::sync::watch;

use crate::archive;
use crate::coming::Coming;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::gc::{self, Candidate, Policy};
use crate::limits::Limits;
use crate::manifest::Platform;
use crate::pull::{Puller, blocking};
use crate::reference::Reference;
use crate::registries::RegistriesFile;
use crate::remote::Clients;
use crate::rootfs;
use crate::store::{Record, Store};

/// Seconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Settings of an image store.
pub struct Options {
    /// Holds everything: `<state>/images`.
    pub dir: PathBuf,
    pub registries: PathBuf,
    pub limits: Limits,
    pub platform: Platform,
    pub clock: Clock,
}

#[derive(Clone)]
pub struct ImageService {
    store: Arc<Store>,
    puller: Arc<Puller>,
    registries: Arc<RegistriesFile>,
    clock: Clock,
    /// One pull of a name at a time: the second finds the layers of the first.
    pulls: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    coming: Arc<watch::Sender<Coming>>,
}

impl ImageService {
    /// Opens the store. Blocking.
    pub fn open(options: Options) -> Result<Self> {
        let store = Store::open(&options.dir, options.limits)?;
        let puller = Puller { store: store.clone(), clients: Clients::default(), platform: options.platform };
        Ok(Self {
            store,
            puller: Arc::new(puller),
            registries: Arc::new(RegistriesFile::open(&options.registries)?),
            clock: options.clock,
            pulls: Arc::default(),
            coming: Arc::default(),
        })
    }

    /// Imports an archive or an OCI layout directory.
    pub async fn import(&self, path: &Path) -> Result<Vec<Image>> {
        let (service, path) = (self.clone(), path.to_owned());
        blocking(move || archive::import(&service.store, &path, &service.puller.platform, (service.clock)()))
            .await
            .map(|records| records.iter().map(Record::image).collect())
    }

    /// Imports the archives of a folder, as at start; one that is damaged doesn't stop the others. Answers with what became
    /// of each. From this call on, [`Images::status`] waits for an image that is about to come.
    pub fn import_folder(&self, folder: &Path) -> impl Future<Output = Result<Vec<(PathBuf, Result<Vec<Image>>)>>> + Send + use<> {
        let (service, folder) = (self.clone(), folder.to_owned());
        // Taken off when the work ends, however it does.
        let looking = service.expect(Coming::any());
        blocking(move || service.import_archives(archive::archives(&folder)?, looking))
    }

    fn import_archives(&self, paths: Vec<PathBuf>, looking: Expected) -> Result<Vec<(PathBuf, Result<Vec<Image>>)>> {
        let open = |path: &Path| archive::Archive::open(&self.store, path, &self.puller.platform);
        // What has to be expanded before it can be read has its turn alone: the copy takes its place on the disk.
        let quick = |path: &Path| path.extension().is_some_and(|e| e == "tar");
        let each = |archive: &archive::Archive| archive.tags().map(|tags| self.expect(Coming::of(tags))).collect();
        let prepare = |path: PathBuf| {
            let archive = quick(&path).then(|| open(&path));
            let expected: VecDeque<Expected> = match &archive {
                Some(Ok(archive)) => each(archive),
                Some(Err(_)) => VecDeque::new(),
                None => [self.expect(Coming::any())].into(),
            };
            (path, archive, expected)
        };
        let prepared: Vec<_> = paths.into_iter().map(prepare).collect();
        drop(looking);
        let import = |archive: Option<Result<archive::Archive>>, path: &Path, mut expected: VecDeque<Expected>| {
            let archive = match archive {
                Some(opened) => opened?,
                None => {
                    let archive = open(path)?;
                    // Each for itself, before the whole is taken off.
                    let whole = std::mem::replace(&mut expected, each(&archive));
                    drop(whole);
                    archive
                }
            };
            let records = archive.import(&self.store, (self.clock)(), || drop(expected.pop_front()))?;
            Ok(records.iter().map(Record::image).collect())
        };
        let results = prepared.into_iter().map(|(path, archive, expected)| {
            let imported = import(archive, &path, expected);
            (path, imported)
        });
        Ok(results.collect())
    }

    fn expect(&self, what: Coming) -> Expected {
        self.coming.send_modify(|coming| coming.add(&what));
        Expected { what, of: self.coming.clone() }
    }

    /// Containers that stand on the image which would be gone when this reference is removed.
    pub async fn users(&self, reference: &str) -> Result<Vec<ContainerId>> {
        let (service, reference) = (self.clone(), reference.to_owned());
        blocking(move || {
            let Some(record) = service.store.last_of(&reference) else { return Ok(Vec::new()) };
            let prepared = rootfs::prepared(&service.store)?;
            Ok(prepared.into_iter().filter(|p| p.is_of(&record.id, &record.layers)).map(|p| p.container).collect())
        })
        .await
    }

    /// Removes unused images as the policy says, then what nothing names. Answers with the ids and the bytes freed.
    pub async fn collect(&self, policy: Policy) -> Result<(Vec<ImageId>, u64)> {
        let service = self.clone();
        blocking(move || service.collect_now(&policy)).await
    }

    fn collect_now(&self, policy: &Policy) -> Result<(Vec<ImageId>, u64)> {
        let dir = self.store.dir();
        let stat = rustix::fs::statvfs(dir).map_err(|e| Error::io("measuring the file system of", dir)(e.into()))?;
        let mounted = rootfs::prepared(&self.store)?;
        let candidates = self.store.records().into_iter().map(|record| Candidate {
            in_use: mounted.iter().any(|p| p.is_of(&record.id, &record.layers)),
            id: record.id,
            size: record.size,
            last_used: record.last_used,
            pinned: record.pinned,
        });
        let (capacity, available) = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
        let plan = gc::plan(policy, capacity, available, (self.clock)(), candidates.collect());
        for id in &plan.remove {
            self.store.forget(&id.to_string())?;
        }
        let freed = self.sweep()?;
        Ok((plan.remove.iter().map(|id| ImageId::new(id.to_string())).collect(), freed))
    }

    fn sweep(&self) -> Result<u64> {
        let mounted: BTreeSet<Digest> = rootfs::prepared(&self.store)?.into_iter().flat_map(|p| p.layers).collect();
        self.store.sweep(&mounted)
    }

    async fn pull_record(&self, reference: &str, auths: &[PullAuth], progress: Option<watch::Sender<Progress>>) -> Result<Record> {
        let parsed = Reference::parse(reference)?;
        let key = parsed.to_string();
        let turn = self.pulls.lock().entry(key.clone()).or_default().clone();
        let guard = turn.lock().await;
        let registries = self.registries.clone();
        let registries = blocking(move || Ok(registries.current())).await?;
        let result = self.puller.pull(&registries, &parsed, auths, progress, (self.clock)()).await;
        drop(guard);
        let mut pulls = self.pulls.lock();
        // Ours and the map's: nobody waits any more.
        if Arc::strong_count(&turn) == 2 {
            pulls.remove(&key);
        }
        result
    }
}

/// Takes what was expected off the list, when it is there or will not come.
struct Expected {
    what: Coming,
    of: Arc<watch::Sender<Coming>>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.of.send_modify(|coming| coming.remove(&self.what));
    }
}

#[async_trait]
impl Images for ImageService {
    async fn list(&self) -> CriResult<Vec<Image>> {
        Ok(self.store.records().iter().map(Record::image).collect())
    }

    async fn status(&self, reference: &str) -> CriResult<Option<Image>> {
        let mut coming = self.coming.subscribe();
        loop {
            let found = self.store.find(reference);
            if !coming.borrow_and_update().delays(reference, found.is_some()) || coming.changed().await.is_err() {
                // Once more: it may have come in between.
                return Ok(self.store.find(reference).map(|record| record.image()));
            }
        }
    }

    async fn pull(&self, reference: &str, auths: &[PullAuth], progress: Option<watch::Sender<Progress>>) -> CriResult<Image> {
        Ok(self.pull_record(reference, auths, progress).await?.image())
    }

    async fn remove(&self, reference: &str) -> CriResult<()> {
        let (service, reference) = (self.clone(), reference.to_owned());
        blocking(move || {
            service.store.forget(&reference)?;
            service.sweep().map(drop)
        })
        .await
        .map_err(RuntimeError::from)
    }

    async fn fs_info(&self) -> CriResult<(PathBuf, FsStats)> {
        let service = self.clone();
        let stats = blocking(move || {
            let mut stats = FsStats { timestamp: (service.clock)().saturating_mul(1_000_000_000), ..FsStats::default() };
            let layers: BTreeSet<Digest> = service.store.records().into_iter().flat_map(|record| record.layers).collect();
            for layer in layers {
                let size = service.store.layer_size(&layer)?;
                stats.used += size.bytes;
                stats.inodes_used += size.inodes;
            }
            Ok(stats)
        })
        .await?;
        Ok((self.store.dir().to_owned(), stats))
    }
}

#[async_trait]
impl Snapshots for ImageService {
    async fn prepare(&self, image: &ImageId, container: &ContainerId) -> CriResult<PreparedRootfs> {
        let (service, image, container) = (self.clone(), image.clone(), container.clone());
        blocking(move || {
            let missing = || Error::NotFound(image.to_string());
            let record = service.store.find(image.as_str()).ok_or_else(missing)?;
            // Held until layers.json names the layers, so that a removal at this moment takes none of them.
            let _lease = service.store.lease(&record.layers);
            if service.store.find(image.as_str()).is_none() {
                return Err(missing());
            }
            service.store.touch(&record.id, (service.clock)())?;
            let path = rootfs::prepare(&service.store, &container, &record.id, &record.layers)?;
            Ok(PreparedRootfs { path, config: record.config })
        })
        .await
        .map_err(RuntimeError::from)
    }

    async fn release(&self, container: &ContainerId) -> CriResult<()> {
        let (service, container) = (self.clone(), container.clone());
        blocking(move || rootfs::release(&service.store, &container)).await.map_err(RuntimeError::from)
    }

    async fn usage(&self, container: &ContainerId) -> CriResult<FsStats> {
        let (service, container) = (self.clone(), container.clone());
        blocking(move || {
            let stats = rootfs::usage(&service.store, &container)?;
            Ok(FsStats { timestamp: (service.clock)().saturating_mul(1_000_000_000), ..stats })
        })
        .await
        .map_err(RuntimeError::from)
    }

    async fn prepared(&self) -> CriResult<Vec<ContainerId>> {
        let service = self.clone();
        let found = blocking(move || rootfs::prepared(&service.store)).await?;
        Ok(found.into_iter().map(|p| p.container).collect())
    }
}
