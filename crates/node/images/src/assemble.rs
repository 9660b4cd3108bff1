//! From a manifest and a way to read its layers to a recorded image. Pulls and imports both end here.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Config, Descriptor};
use crate::store::{LayerSize, Lease, Record, Store};
use crate::unpack::{Unpacked, inherit};

/// What an image is made of, before any layer is there.
pub struct Blueprint {
    pub id: Digest,
    pub config: Config,
    /// Compressed layers, lowest first; as many as the configuration has diff ids.
    pub layers: Vec<Descriptor>,
    pub chains: Vec<Digest>,
}

impl Blueprint {
    pub fn new(what: &str, config_digest: Digest, config: &[u8], layers: Vec<Descriptor>) -> Result<Self> {
        config_digest.verify(format!("the configuration of {what}"), &Digest::of(config))?;
        let config = Config::decode(&format!("the configuration of {what}"), config)?;
        if config.diff_ids.len() != layers.len() {
            return Err(Error::Malformed { what: what.to_owned(), reason: format!("{} layers, but {} diff ids", layers.len(), config.diff_ids.len()) });
        }
        let mut chains: Vec<Digest> = Vec::with_capacity(layers.len());
        for diff in &config.diff_ids {
            let chain = Digest::chain(chains.last(), diff);
            chains.push(chain);
        }
        Ok(Self { id: config_digest, config, layers, chains })
    }

    /// Indexes of the layers that the store lacks.
    pub fn missing(&self, store: &Store) -> Vec<usize> {
        self.chains.iter().enumerate().filter(|(_, chain)| !store.has_layer(chain)).map(|(i, _)| i).collect()
    }
}

/// A layer that is unpacked and verified, and not yet under its name. Dropped, it removes itself.
pub struct Staged {
    pub index: usize,
    path: PathBuf,
    unpacked: Unpacked,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(target: "images", path = %self.path.display(), %error, "leftover of a pull");
        }
    }
}

/// Reads a layer into tmp/. Blocking.
pub fn stage(store: &Store, plan: &Blueprint, index: usize, reader: impl Read + Send, verify_blob: bool) -> Result<Staged> {
    let (Some(layer), Some(diff)) = (plan.layers.get(index), plan.config.diff_ids.get(index)) else { return Err(Error::Worker) };
    let mut staged = Staged { index, path: store.scratch(), unpacked: Unpacked::default() };
    let root = staged.path.join("diff");
    std::fs::create_dir_all(&root).map_err(Error::io("making the directory", &root))?;
    let blob = verify_blob.then_some(&layer.digest);
    staged.unpacked = crate::ingest::layer(reader, blob, diff, &root, &store.limits)?;
    Ok(staged)
}

/// Puts the layers under their names, lowest first, and writes the record. Blocking.
pub fn finish(store: &Arc<Store>, plan: &Blueprint, mut staged: Vec<Staged>, record: Record, _lease: &Lease) -> Result<Record> {
    staged.sort_by_key(|layer| layer.index);
    let total: u64 = staged.iter().map(|layer| layer.unpacked.bytes).sum();
    if total > store.limits.image {
        return Err(Error::TooLarge { what: format!("image {}", plan.id), limit: store.limits.image });
    }
    let placed = !staged.is_empty();
    for layer in &staged {
        let Some(chain) = plan.chains.get(layer.index) else { return Err(Error::Worker) };
        let below: Vec<PathBuf> = plan.chains.iter().take(layer.index).rev().map(|chain| store.layer_dir(chain).join("diff")).collect();
        let lowers: Vec<PathBuf> = below.into_iter().filter(|path| Path::is_dir(path)).collect();
        inherit(&layer.path.join("diff"), &layer.unpacked.implicit, &lowers)?;
        store.place_layer(&layer.path, chain, LayerSize { bytes: layer.unpacked.bytes, inodes: layer.unpacked.inodes })?;
    }
    if placed {
        store.sync()?;
    }
    let mut size = 0;
    for chain in plan.chains.iter().collect::<BTreeSet<_>>() {
        size += store.layer_size(chain)?.bytes;
    }
    store.add(Record { id: plan.id.clone(), layers: plan.chains.clone(), size, config: plan.config.run.clone(), ..record })
}
