//! Images out of files: an OCI layout (directory or tar), or what `docker save` writes, compressed as a whole or not.
//!
//! Archives have their index near the end, so a first pass notes where each file lies and content is read by offset.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::assemble::{Blueprint, finish, stage};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::{Counted, Guarded, Limits, decompressed};
use crate::manifest::{Descriptor, Manifest, Platform, choose, json};
use crate::reference::Reference;
use crate::store::{Record, Store};
use crate::tarball::{Kind, TarReader};

/// Most files of an archive.
const MAX_FILES: usize = 100_000;
/// Longest chain of links between files of an archive.
const MAX_LINKS: usize = 8;

/// An opened archive: what it holds is known, nothing of it is in the store yet.
pub struct Archive {
    source: Source,
    images: Vec<Found>,
}

impl Archive {
    /// Finds every image for `platform` that the file or directory holds. Blocking.
    pub fn open(store: &Arc<Store>, path: &Path, platform: &Platform) -> Result<Self> {
        let source = Source::open(store, path)?;
        let mut images = Vec::new();
        if source.has("index.json") {
            images = oci_images(&source, store, platform)?;
        }
        let docker = docker_images(&source, store)?;
        // An archive that is both names its images in the docker part at times, at times in both.
        for image in docker {
            match images.iter_mut().find(|known| known.config.digest == image.config.digest) {
                Some(known) => known.names.extend(image.names),
                None => images.push(image),
            }
        }
        if images.is_empty() {
            return Err(Error::Malformed {
                what: path.display().to_string(),
                reason: format!("it holds no image for {platform}: neither index.json nor manifest.json names one"),
            });
        }
        Ok(Self { source, images })
    }

    /// The tags of each image, as records have them.
    pub fn tags(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        self.images.iter().map(|image| image.names.iter().map(Reference::canonical).collect())
    }

    /// Imports them in the order of [`Archive::tags`]; `done` is called behind each. Blocking.
    pub fn import(self, store: &Arc<Store>, now: i64, mut done: impl FnMut()) -> Result<Vec<Record>> {
        let one = |image| import_one(store, &self.source, image, now).inspect(|_| done());
        self.images.into_iter().map(one).collect()
    }
}

/// Imports every image for `platform` that the file or directory holds. Blocking.
pub fn import(store: &Arc<Store>, path: &Path, platform: &Platform, now: i64) -> Result<Vec<Record>> {
    Archive::open(store, path, platform)?.import(store, now, || {})
}

/// The archives of a folder, in the order of names; none when it is not there.
pub fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("listing", folder)(e)),
    };
    let known = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"];
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| known.iter().any(|end| n.ends_with(end))))
        .collect();
    paths.sort();
    Ok(paths)
}

/// An image of an archive: where its parts are, not yet what they say.
struct Found {
    names: Vec<Reference>,
    config: Descriptor,
    config_path: String,
    layers: Vec<Descriptor>,
    layer_paths: Vec<String>,
    manifest: Option<(Digest, Vec<u8>)>,
}

fn import_one(store: &Arc<Store>, source: &Source, image: Found, now: i64) -> Result<Record> {
    let bytes = source.small(&image.config_path, store.limits.config)?;
    // In a docker archive, blobs are named by path: only an OCI layer's digest is that of its bytes.
    let verify_blob = image.manifest.is_some();
    let plan = Blueprint::new(&image.config_path, image.config.digest, &bytes, image.layers)?;
    let lease = store.lease(&plan.chains);
    let mut staged = Vec::new();
    for index in plan.missing(store) {
        let path = image.layer_paths.get(index).ok_or(Error::Worker)?;
        staged.push(stage(store, &plan, index, source.open_file(path)?, verify_blob)?);
    }
    store.put_blob(&plan.id, &bytes)?;
    let mut record = Record {
        id: plan.id.clone(),
        tags: Default::default(),
        digests: Default::default(),
        layers: Vec::new(),
        size: 0,
        config: Default::default(),
        manifests: Default::default(),
        // No registry is known to have it: what is collected would not come back.
        pinned: true,
        last_used: now,
    };
    for name in &image.names {
        record.tags.insert(name.canonical());
        if let Some((digest, _)) = &image.manifest {
            record.digests.insert(format!("{}@{digest}", name.name()));
        }
    }
    if let Some((digest, bytes)) = &image.manifest {
        store.put_blob(digest, bytes)?;
        record.manifests.insert(digest.clone());
    }
    finish(store, &plan, staged, record, &lease)
}

fn oci_images(source: &Source, store: &Store, platform: &Platform) -> Result<Vec<Found>> {
    let bytes = source.small("index.json", store.limits.manifest)?;
    let Manifest::Index(entries) = Manifest::decode("index.json", &bytes, &store.limits)? else { return Ok(Vec::new()) };
    let mut found: Vec<Found> = Vec::new();
    for entry in &entries {
        let names = annotated(entry);
        let Some((digest, bytes)) = resolve(source, store, entry, platform, 3)? else { continue };
        let Manifest::Image { config, layers } = Manifest::decode(&format!("manifest {digest}"), &bytes, &store.limits)? else {
            continue;
        };
        if let Some(known) = found.iter_mut().find(|known| known.config.digest == config.digest) {
            known.names.extend(names);
            continue;
        }
        found.push(Found {
            names,
            config_path: blob_path(&config.digest),
            layer_paths: layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
            config,
            layers,
            manifest: Some((digest, bytes)),
        });
    }
    Ok(found)
}

/// Follows an index to the manifest for the platform. What the archive leaves out is passed over.
fn resolve(source: &Source, store: &Store, entry: &Descriptor, platform: &Platform, depth: usize) -> Result<Option<(Digest, Vec<u8>)>> {
    let path = blob_path(&entry.digest);
    if !source.has(&path) || depth == 0 {
        return Ok(None);
    }
    let bytes = source.small(&path, store.limits.manifest)?;
    entry.digest.verify(&path, &Digest::of(&bytes))?;
    match Manifest::decode(&path, &bytes, &store.limits)? {
        Manifest::Image { .. } => {
            let other = entry.platform.as_ref().is_some_and(|_| choose(std::slice::from_ref(entry), platform).is_none());
            Ok((!other).then(|| (entry.digest.clone(), bytes)))
        }
        Manifest::Index(entries) => match choose(&entries, platform) {
            Some(chosen) => resolve(source, store, chosen, platform, depth - 1),
            None => Ok(None),
        },
    }
}

/// The full name that containerd writes, or a ref.name that is a whole name and not just a tag.
fn annotated(entry: &Descriptor) -> Vec<Reference> {
    let name = entry.annotations.get("io.containerd.image.name");
    let short = entry.annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':']));
    name.or(short).and_then(|name| Reference::parse(name).ok()).into_iter().collect()
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn docker_images(source: &Source, store: &Store) -> Result<Vec<Found>> {
    if !source.has("manifest.json") {
        return Ok(Vec::new());
    }
    let bytes = source.small("manifest.json", store.limits.manifest)?;
    let images: Vec<DockerImage> = json("manifest.json", &bytes)?;
    let mut found = Vec::new();
    for image in images {
        let digest = Digest::of(&source.small(&image.config, store.limits.config)?);
        let descriptor = |digest: Digest| Descriptor { digest, size: 0, media_type: String::new(), platform: None, annotations: Default::default() };
        let names = image.repo_tags.unwrap_or_default().iter().map(|name| Reference::parse(name)).collect::<Result<_>>()?;
        found.push(Found {
            names,
            // The name of the file is the digest it should have.
            config: descriptor(named_digest(&image.config).unwrap_or(digest)),
            config_path: image.config,
            layers: image.layers.iter().map(|path| descriptor(Digest::of(path.as_bytes()))).collect(),
            layer_paths: image.layers,
            manifest: None,
        });
    }
    Ok(found)
}

fn named_digest(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next()?;
    format!("sha256:{}", name.strip_suffix(".json").unwrap_or(name)).parse().ok()
}

/// Where the files of an archive are.
enum Source {
    Directory(PathBuf),
    Tar { file: Arc<File>, files: HashMap<String, Place>, path: PathBuf },
}

enum Place {
    At { offset: u64, size: u64 },
    Link(String),
}

impl Source {
    fn open(store: &Store, path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let file = expanded(store, path)?;
        let mut tar = TarReader::seekable(BufReader::with_capacity(8 << 10, &file));
        let mut files = HashMap::new();
        while let Some(entry) = tar.next_entry().map_err(|error| unreadable(path, files.is_empty(), &error))? {
            let name = joined(&crate::rooted::clean(&entry.path));
            let place = match entry.kind {
                Kind::File if entry.sparse.is_none() => Place::At { offset: entry.offset, size: entry.size },
                Kind::HardLink => Place::Link(joined(&crate::rooted::clean(&entry.link))),
                Kind::Symlink => {
                    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                    Place::Link(joined(&crate::rooted::clean(&[directory.as_bytes(), b"/", &entry.link].concat())))
                }
                _ => continue,
            };
            files.insert(name, place);
            if files.len() > MAX_FILES {
                return Err(Error::Malformed { what: path.display().to_string(), reason: "it holds too many files".to_owned() });
            }
        }
        drop(tar);
        Ok(Self::Tar { file: Arc::new(file), files, path: path.to_owned() })
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(path) => path.join(name).is_file(),
            Self::Tar { files, .. } => files.contains_key(name),
        }
    }

    fn open_file(&self, name: &str) -> Result<Box<dyn Read + Send + '_>> {
        let name = joined(&crate::rooted::clean(name.as_bytes()));
        match self {
            Self::Directory(path) => {
                let path = path.join(&name);
                let file = File::open(&path).map_err(Error::io("opening", path))?;
                Ok(Box::new(file))
            }
            Self::Tar { file, files, path } => {
                let mut at = name.as_str();
                for _ in 0..MAX_LINKS {
                    match files.get(at) {
                        Some(Place::Link(target)) => at = target,
                        Some(Place::At { offset, size }) => {
                            return Ok(Box::new(Section { file: file.clone(), at: *offset, left: *size }));
                        }
                        None => break,
                    }
                }
                Err(Error::Malformed { what: path.display().to_string(), reason: format!("{name} is missing") })
            }
        }
    }

    fn small(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let reading = |source| Error::Read { what: name.to_owned(), source };
        self.open_file(name)?.take(limit + 1).read_to_end(&mut bytes).map_err(reading)?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { what: name.to_owned(), limit });
        }
        Ok(bytes)
    }
}

/// A file without one good entry is something else than an archive.
fn unreadable(path: &Path, first: bool, error: &Error) -> Error {
    let reason = match first {
        true => "it is no image archive; a tar is needed, plain or packed by gzip or zstd, as `docker save`, `skopeo copy` or `ctr image export` write it, or the folder of an OCI layout".to_owned(),
        false => error.to_string(),
    };
    Error::Malformed { what: path.display().to_string(), reason }
}

/// The archive itself, or a copy of what it expands to: only that can be read by offset.
fn expanded(store: &Store, path: &Path) -> Result<File> {
    let mut file = File::open(path).map_err(Error::io("opening", path))?;
    let mut magic = [0; 4];
    let n = file.read(&mut magic).map_err(Error::io("reading", path))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::io("reading", path))?;
    if n < 4 || !matches!(magic, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(file);
    }
    let scratch = store.scratch();
    let mut copy = File::options().read(true).write(true).create_new(true).open(&scratch).map_err(Error::io("making", &scratch))?;
    // It has no name from here on, so nothing is left behind.
    std::fs::remove_file(&scratch).map_err(Error::io("unlinking", &scratch))?;
    let limits = Limits { layer: store.limits.image, ..store.limits.clone() };
    let (file, compressed) = Counted::new(file);
    let reader = decompressed(file).map_err(Error::io("reading", path))?;
    io::copy(&mut Guarded::new(reader, path.display().to_string(), compressed, limits), &mut copy).map_err(Error::io("expanding", path))?;
    copy.seek(SeekFrom::Start(0)).map_err(Error::io("reading", path))?;
    Ok(copy)
}

fn joined(parts: &[&[u8]]) -> String {
    String::from_utf8_lossy(&parts.join(&b'/')).into_owned()
}

struct Section {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = (buffer.len() as u64).min(self.left) as usize;
        let n = self.file.read_at(buffer.get_mut(..want).unwrap_or_default(), self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}
