//! What is on disk, and the records that say what it means.
//!
//! ```text
//! images.json            every image's record; written whole, by temporary file, fsync and rename
//! blobs/sha256/<hex>     manifests and configurations
//! layers/<chain id>/     diff/ is an overlay lower directory, size.json says what it holds
//! rootfs/<container>/    upper, work, merged; layers.json names what is mounted below
//! tmp/                   whatever isn't finished; emptied at start
//! ```
//! A layer or blob appears under its name only when it is complete and verified. Compressed layers are not kept: they go
//! straight from the wire into a directory, so a pull writes once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skiff_cri::{Image, ImageConfig, ImageId};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::reference::Reference;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The digest of the configuration: the image's id.
    pub id: Digest,
    /// `registry/repository:tag`
    pub tags: BTreeSet<String>,
    /// `registry/repository@sha256:…`
    pub digests: BTreeSet<String>,
    /// Chain ids, lowest first.
    pub layers: Vec<Digest>,
    /// Bytes on disk.
    pub size: u64,
    pub config: ImageConfig,
    /// Manifests through which the image came: their blobs live as long as it does.
    #[serde(default)]
    pub manifests: BTreeSet<Digest>,
    #[serde(default)]
    pub pinned: bool,
    /// Seconds since 1970 of the last pull or container.
    #[serde(default)]
    pub last_used: i64,
}

impl Record {
    pub fn image(&self) -> Image {
        Image {
            id: ImageId::new(self.id.to_string()),
            tags: self.tags.iter().cloned().collect(),
            digests: self.digests.iter().cloned().collect(),
            size: self.size,
            user: self.config.user.clone(),
            pinned: self.pinned,
        }
    }
}

/// What a layer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSize {
    pub bytes: u64,
    pub inodes: u64,
}

#[derive(Default)]
struct State {
    images: BTreeMap<Digest, Record>,
    /// Layers that a pull or import relies on and no record names yet.
    leases: HashMap<Digest, usize>,
    /// The times of last uses that are on the disk.
    used: BTreeMap<Digest, i64>,
}

/// Times of last uses are worth a write to disk when they are so many seconds newer: images are kept for weeks.
const USED_EVERY: i64 = 24 * 3600;

pub struct Store {
    dir: PathBuf,
    pub limits: Limits,
    state: Mutex<State>,
    next: AtomicU64,
}

impl Store {
    /// Opens or makes a store below `dir`. What an interrupted pull left behind goes.
    pub fn open(dir: &Path, limits: Limits) -> Result<Arc<Self>> {
        for name in ["blobs/sha256", "layers", "rootfs"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(Error::io("making the directory", path))?;
        }
        let tmp = dir.join("tmp");
        match fs::remove_dir_all(&tmp) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("emptying", tmp)(e)),
            _ => fs::create_dir(&tmp).map_err(Error::io("making the directory", &tmp))?,
        }
        let images = read_records(&dir.join("images.json"))?;
        let used = used_of(&images);
        let store = Self { dir: dir.to_owned(), limits, state: Mutex::new(State { images, leases: HashMap::new(), used }), next: AtomicU64::new(0) };
        store.drop_incomplete()?;
        Ok(Arc::new(store))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn layer_dir(&self, chain: &Digest) -> PathBuf {
        self.dir.join("layers").join(chain.hex())
    }

    pub fn rootfs_dir(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// A fresh path in tmp/.
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("tmp").join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    pub fn has_layer(&self, chain: &Digest) -> bool {
        self.layer_dir(chain).join("size.json").is_file()
    }

    pub fn layer_size(&self, chain: &Digest) -> Result<LayerSize> {
        let path = self.layer_dir(chain).join("size.json");
        let bytes = fs::read(&path).map_err(Error::io("reading", &path))?;
        crate::manifest::json(&path.display().to_string(), &bytes)
    }

    /// Puts a finished layer under its name. Another pull may have been faster: then ours goes.
    pub fn place_layer(&self, scratch: &Path, chain: &Digest, size: LayerSize) -> Result<()> {
        write_json(&scratch.join("size.json"), &size)?;
        let target = self.layer_dir(chain);
        match fs::rename(scratch, &target) {
            Ok(()) => Ok(()),
            Err(_) if self.has_layer(chain) => fs::remove_dir_all(scratch).map_err(Error::io("removing", scratch)),
            Err(e) => Err(Error::io("moving a layer to", target)(e)),
        }
    }

    /// Makes everything placed so far survive a power cut.
    pub fn sync(&self) -> Result<()> {
        let file = fs::File::open(&self.dir).map_err(Error::io("opening", &self.dir))?;
        rustix::fs::syncfs(&file).map_err(|e| Error::io("writing to disk", &self.dir)(e.into()))
    }

    /// Keeps a manifest or configuration whose digest was checked.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        digest.verify("a blob", &Digest::of(bytes))?;
        let path = self.blob_path(digest);
        if path.exists() { Ok(()) } else { write_atomically(&path, &self.scratch(), bytes) }
    }

    /// A kept blob, verified again as it is read: a torn file counts as absent.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        fs::read(self.blob_path(digest)).ok().filter(|bytes| Digest::of(bytes) == *digest)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    pub fn lease(self: &Arc<Self>, chains: &[Digest]) -> Lease {
        let mut state = self.state.lock();
        for chain in chains {
            *state.leases.entry(chain.clone()).or_default() += 1;
        }
        Lease { store: self.clone(), chains: chains.to_vec() }
    }

    pub fn records(&self) -> Vec<Record> {
        self.state.lock().images.values().cloned().collect()
    }

    /// By id, id prefix-less digest, tag, repository digest or short name.
    pub fn find(&self, reference: &str) -> Option<Record> {
        let state = self.state.lock();
        find(&state.images, reference).cloned()
    }

    /// Adds an image, or names to one that is there. A tag moves away from the image that had it; one that has lost its last is
    /// pinned no longer.
    pub fn add(&self, record: Record) -> Result<Record> {
        self.change(|images| {
            for other in images.values_mut().filter(|other| other.id != record.id) {
                let before = other.tags.len();
                other.tags.retain(|tag| !record.tags.contains(tag));
                other.pinned &= other.tags.len() == before || !other.tags.is_empty();
            }
            let entry = images.entry(record.id.clone()).or_insert_with(|| record.clone());
            entry.tags.extend(record.tags.iter().cloned());
            entry.digests.extend(record.digests.iter().cloned());
            entry.manifests.extend(record.manifests.iter().cloned());
            entry.pinned |= record.pinned;
            entry.last_used = entry.last_used.max(record.last_used);
            entry.clone()
        })
    }

    /// Marks an image as used now. It reaches the disk with the next change, or by itself once a day.
    pub fn touch(&self, id: &Digest, now: i64) -> Result<()> {
        let due = {
            let mut state = self.state.lock();
            let Some(record) = state.images.get_mut(id) else { return Ok(()) };
            record.last_used = record.last_used.max(now);
            now - state.used.get(id).copied().unwrap_or_default() >= USED_EVERY
        };
        if due { self.change(|_| ()) } else { Ok(()) }
    }

    /// Removes a name, and the image with its last name; by id, the image.
    pub fn forget(&self, reference: &str) -> Result<()> {
        self.change(|images| {
            let Some(id) = find(images, reference).map(|r| r.id.clone()) else { return };
            let Some(record) = images.get_mut(&id) else { return };
            if !take_name(record, reference) {
                images.remove(&id);
            }
        })
    }

    /// The image that would be gone when this reference is forgotten; none when it keeps another name.
    pub fn last_of(&self, reference: &str) -> Option<Record> {
        let mut record = self.find(reference)?;
        let whole = record.clone();
        (!take_name(&mut record, reference)).then_some(whole)
    }

    /// Removes layers and blobs that nothing names. `mounted` are the layers of containers. Returns bytes freed.
    pub fn sweep(&self, mounted: &BTreeSet<Digest>) -> Result<u64> {
        let state = self.state.lock();
        let mut layers: BTreeSet<&str> = mounted.iter().map(Digest::hex).collect();
        layers.extend(state.leases.keys().map(Digest::hex));
        let mut blobs = BTreeSet::new();
        for record in state.images.values() {
            layers.extend(record.layers.iter().map(Digest::hex));
            blobs.extend(record.manifests.iter().chain([&record.id]).map(Digest::hex));
        }
        let mut doomed = Vec::new();
        let mut freed = 0;
        for name in names(&self.dir.join("layers"))? {
            if layers.contains(name.as_str()) {
                continue;
            }
            let from = self.dir.join("layers").join(&name);
            if let Ok(digest) = format!("sha256:{name}").parse::<Digest>() {
                freed += self.layer_size(&digest).map(|size| size.bytes).unwrap_or(0);
            }
            // Renamed under the lock, so that it is gone at once; removed after it.
            let to = self.scratch();
            fs::rename(&from, &to).map_err(Error::io("removing the layer", &from))?;
            doomed.push(to);
        }
        let leased = !state.leases.is_empty();
        for name in names(&self.dir.join("blobs/sha256"))? {
            // A pull that is under way has blobs that no record names yet.
            if !leased && !blobs.contains(name.as_str()) {
                let path = self.dir.join("blobs/sha256").join(&name);
                fs::remove_file(&path).map_err(Error::io("removing the blob", &path))?;
            }
        }
        drop(state);
        for path in doomed {
            fs::remove_dir_all(&path).map_err(Error::io("removing", &path))?;
        }
        Ok(freed)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Digest, Record>) -> T) -> Result<T> {
        let mut state = self.state.lock();
        let mut images = state.images.clone();
        let result = change(&mut images);
        if worth_writing(&state.images, &images) || images.iter().any(|(id, r)| r.last_used - state.used.get(id).copied().unwrap_or_default() >= USED_EVERY) {
            let bytes = skiff_json::to_vec(&images.values().collect::<Vec<_>>()).map_err(|source| Error::Json { what: "image records".to_owned(), source })?;
            write_atomically(&self.dir.join("images.json"), &self.scratch(), &bytes)?;
            state.used = used_of(&images);
        }
        state.images = images;
        Ok(result)
    }

    /// An image whose layers are not all there (a disk that lost them) is no image.
    fn drop_incomplete(&self) -> Result<()> {
        self.change(|images| images.retain(|_, record| record.layers.iter().all(|layer| self.has_layer(layer))))
    }
}

fn used_of(images: &BTreeMap<Digest, Record>) -> BTreeMap<Digest, i64> {
    images.iter().map(|(id, r)| (id.clone(), r.last_used)).collect()
}

/// Whether more than the times of the last use differs: these reach the disk with the next change.
fn worth_writing(old: &BTreeMap<Digest, Record>, new: &BTreeMap<Digest, Record>) -> bool {
    let same = |(a, b): (&Record, &Record)| *a == Record { last_used: a.last_used, ..b.clone() };
    old.len() != new.len() || !old.values().zip(new.values()).all(same)
}

/// Keeps layers from being swept while it lives.
pub struct Lease {
    store: Arc<Store>,
    chains: Vec<Digest>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.store.state.lock();
        for chain in &self.chains {
            if let Some(count) = state.leases.get_mut(chain) {
                *count -= 1;
                if *count == 0 {
                    state.leases.remove(chain);
                }
            }
        }
    }
}

/// Whether the image is still there without this reference: by id it goes whatever its names.
fn take_name(record: &mut Record, reference: &str) -> bool {
    if reference.strip_prefix("sha256:").unwrap_or(reference) == record.id.hex() {
        return false;
    }
    if let Ok(name) = Reference::parse(reference) {
        let canonical = name.canonical();
        record.tags.remove(&canonical);
        record.digests.remove(&canonical);
        if record.tags.is_empty() && name.digest.is_none() {
            record.digests.retain(|digest| !digest.starts_with(&format!("{}@", name.name())));
        }
    }
    !record.tags.is_empty() || !record.digests.is_empty()
}

fn find<'a>(images: &'a BTreeMap<Digest, Record>, reference: &str) -> Option<&'a Record> {
    let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
    if let Ok(id) = format!("sha256:{hex}").parse::<Digest>()
        && let Some(record) = images.get(&id)
    {
        return Some(record);
    }
    let name = Reference::parse(reference).ok()?.canonical();
    images.values().find(|record| record.tags.contains(&name) || record.digests.contains(&name))
}

fn read_records(path: &Path) -> Result<BTreeMap<Digest, Record>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(Error::io("reading", path)(e)),
    };
    let records: Vec<Record> = crate::manifest::json(&path.display().to_string(), &bytes)?;
    Ok(records.into_iter().map(|record| (record.id.clone(), record)).collect())
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).map_err(Error::io("listing", dir))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let bytes = skiff_json::to_vec(value).map_err(|source| Error::Json { what: path.display().to_string(), source })?;
    fs::write(path, bytes).map_err(Error::io("writing", path))
}

pub(crate) fn write_atomically(path: &Path, scratch: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs::File::create_new(scratch).map_err(Error::io("making", scratch))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io("writing", scratch))?;
    fs::rename(scratch, path).map_err(Error::io("replacing", path))?;
    let parent = path.parent().unwrap_or(path);
    fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(Error::io("writing the directory", parent))
}
