//! A pull: endpoints and credentials in turn, manifest, configuration, then the missing layers at the same time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};
use skiff_cri::{Progress, PullAuth};
use tokio::sync::{mpsc, watch};

use crate::assemble::{Blueprint, Staged, finish, stage};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Platform, choose};
use crate::reference::Reference;
use crate::registries::{Endpoint, HostAuth, Registries};
use crate::remote::{Clients, Remote};
use crate::store::{Record, Store};

/// Layers in flight at once.
const LAYERS: usize = 3;
/// Chunks of the body between network and unpacker.
const CHUNKS: usize = 64;

pub struct Puller {
    pub store: Arc<Store>,
    pub clients: Clients,
    pub platform: Platform,
}

impl Puller {
    pub async fn pull(
        &self,
        registries: &Registries,
        reference: &Reference,
        auths: &[PullAuth],
        progress: Option<watch::Sender<Progress>>,
        now: i64,
    ) -> Result<Record> {
        let mut failure: Option<Error> = None;
        for endpoint in registries.endpoints(reference) {
            for auth in credentials(&endpoint, auths) {
                let remote = Remote::new(&self.clients, endpoint.clone(), auth, reference.to_string())?;
                match self.pull_from(&remote, reference, progress.as_ref(), now).await {
                    Ok(record) => return Ok(record),
                    Err(error) => {
                        tracing::debug!(target: "images", endpoint = endpoint.base, error = %error, "pull attempt failed");
                        let next_credentials = error.is_unauthorized();
                        // A refusal tells more than what a try without credentials says after it.
                        failure = Some(error);
                        if !next_credentials {
                            break;
                        }
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::Config(format!("{reference}: no endpoint to pull from"))))
    }

    async fn pull_from(&self, remote: &Arc<Remote>, reference: &Reference, progress: Option<&watch::Sender<Progress>>, now: i64) -> Result<Record> {
        let limits = &self.store.limits;
        let top = self.manifest(remote, &reference.selector(), reference.digest.as_ref()).await?;
        let mut manifests = vec![top];
        let (config, layers) = loop {
            let (digest, bytes) = manifests.last().ok_or(Error::Worker)?;
            match Manifest::decode(&format!("manifest {digest} of {reference}"), bytes, limits)? {
                Manifest::Image { config, layers } => break (config, layers),
                Manifest::Index(entries) if manifests.len() < 3 => {
                    let none = || Error::NoPlatform { reference: reference.to_string(), platform: self.platform.to_string() };
                    let chosen = choose(&entries, &self.platform).ok_or_else(none)?;
                    let next = self.manifest(remote, &chosen.digest.to_string(), Some(&chosen.digest)).await?;
                    manifests.push(next);
                }
                Manifest::Index(_) => {
                    return Err(Error::Malformed { what: reference.to_string(), reason: "its index is nested too deep".to_owned() });
                }
            }
        };
        let config_bytes = match self.store.blob(&config.digest) {
            Some(bytes) => bytes.into(),
            None => remote.small_blob(&config.digest.to_string(), limits.config).await?,
        };
        let plan = Arc::new(Blueprint::new(&reference.to_string(), config.digest, &config_bytes, layers)?);
        let lease = self.store.lease(&plan.chains);
        let staged = self.layers(remote, &plan, progress).await?;
        let record = self.record(reference, &manifests, now);
        let store = self.store.clone();
        blocking(move || {
            for (digest, bytes) in &manifests {
                store.put_blob(digest, bytes)?;
            }
            store.put_blob(&plan.id, &config_bytes)?;
            finish(&store, &plan, staged, record, &lease)
        })
        .await
    }

    /// A manifest with its digest; asked for by digest, that is checked.
    async fn manifest(&self, remote: &Remote, selector: &str, expected: Option<&Digest>) -> Result<(Digest, Bytes)> {
        let bytes = remote.manifest(selector, self.store.limits.manifest).await?;
        let digest = Digest::of(&bytes);
        if let Some(expected) = expected {
            expected.verify(format!("manifest {selector}"), &digest)?;
        }
        Ok((digest, bytes))
    }

    async fn layers(&self, remote: &Arc<Remote>, plan: &Arc<Blueprint>, progress: Option<&watch::Sender<Progress>>) -> Result<Vec<Staged>> {
        let missing = plan.missing(&self.store);
        let total = missing.iter().filter_map(|i| plan.layers.get(*i)).map(|layer| layer.size).sum();
        let done = Arc::new(AtomicU64::new(0));
        futures::stream::iter(missing)
            .map(|index| self.layer(remote.clone(), plan.clone(), index, done.clone(), total, progress))
            .buffer_unordered(LAYERS)
            .try_collect()
            .await
    }

    async fn layer(
        &self,
        remote: Arc<Remote>,
        plan: Arc<Blueprint>,
        index: usize,
        done: Arc<AtomicU64>,
        total: u64,
        progress: Option<&watch::Sender<Progress>>,
    ) -> Result<Staged> {
        let digest = plan.layers.get(index).map(|layer| layer.digest.to_string()).ok_or(Error::Worker)?;
        let mut body = remote.blob(&digest).await?;
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(CHUNKS);
        let store = self.store.clone();
        let unpacking = tokio::task::spawn_blocking(move || stage(&store, &plan, index, BodyReader { receiver, chunk: Bytes::new() }, true));
        loop {
            let chunk = match body.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) => Ok(chunk),
                Err(e) => Err(io::Error::other(e.without_url())),
            };
            let ended = chunk.is_err();
            let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            // A closed channel: the unpacker has failed and says why below.
            if sender.send(chunk).await.is_err() || ended {
                break;
            }
            let so_far = done.fetch_add(length, Ordering::Relaxed) + length;
            if let Some(progress) = progress {
                progress.send_replace(Progress { done: so_far, total: Some(total) });
            }
        }
        drop(sender);
        unpacking.await.map_err(|_| Error::Worker)?
    }

    fn record(&self, reference: &Reference, manifests: &[(Digest, Bytes)], now: i64) -> Record {
        let name = reference.name();
        let tags = match (&reference.digest, &reference.tag) {
            (None, Some(tag)) => [format!("{name}:{tag}")].into(),
            _ => Default::default(),
        };
        Record {
            id: Digest::of(b""),
            tags,
            digests: manifests.iter().take(1).map(|(digest, _)| format!("{name}@{digest}")).collect(),
            layers: Vec::new(),
            size: 0,
            config: Default::default(),
            manifests: manifests.iter().map(|(digest, _)| digest.clone()).collect(),
            pinned: false,
            last_used: now,
        }
    }
}

/// What to try at an endpoint, in turn. A pod's secrets go to the registry that it names, never to a mirror of it.
fn credentials(endpoint: &Endpoint, auths: &[PullAuth]) -> Vec<Option<PullAuth>> {
    let mut tries: Vec<Option<PullAuth>> = Vec::new();
    if endpoint.namespace.is_none() {
        tries.extend(auths.iter().cloned().map(Some));
    }
    tries.extend(endpoint.config.auth.as_ref().and_then(host_credentials).map(Some));
    tries.push(None);
    tries
}

fn host_credentials(auth: &HostAuth) -> Option<PullAuth> {
    if !auth.identity_token.is_empty() {
        return Some(PullAuth::Token(auth.identity_token.clone()));
    }
    if !auth.username.is_empty() {
        return Some(PullAuth::Basic { username: auth.username.clone(), password: auth.password.clone() });
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(&auth.auth).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(PullAuth::Basic { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Worker)?
}

/// The body of a response, read by a blocking thread.
struct BodyReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl io::Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.chunk = chunk?,
            }
        }
        let n = buffer.len().min(self.chunk.len());
        let part = self.chunk.split_to(n);
        buffer.get_mut(..n).unwrap_or_default().copy_from_slice(&part);
        Ok(n)
    }
}
