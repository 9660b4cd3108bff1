//! The store as its users see it: reads from memory, writes to the writer thread.
use crate::counter::Counter;
use crate::group::Proposal;
use crate::volatile::Volatile;
use crate::writer::{Job, Reply, Writer};
use crate::{Config, OpenError, load, open};
use async_trait::async_trait;
use skiff_cache::Cache;
use skiff_meta::Revision;
use skiff_store::{Entry, Indexer, ListQuery, Page, Sealed, Store, StoreError, Watch, Write};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;

/// The embedded datastore. Dropping it closes it in the background; [`Store::close`] waits.
pub struct Sqlite {
    cache: Arc<Cache>,
    indexer: Arc<dyn Indexer>,
    compacted: Arc<AtomicU64>,
    jobs: Sender<Job>,
    path: PathBuf,
}

impl Sqlite {
    /// Opens the folder, loads the present state and starts the writer thread. Blocks.
    pub fn open(config: Config, indexer: Arc<dyn Indexer>) -> Result<Self, OpenError> {
        let (disk, path) = open::open(&config)?;
        let loaded = load::load(&disk, &path, &*indexer)?;
        let counter = Counter::resume(loaded.reserved, loaded.highest);
        let cache = Arc::new(Cache::new(config.limits, Revision(counter.last()), loaded.entries));
        let compacted = Arc::new(AtomicU64::new(loaded.compacted));
        let (jobs, received) = channel();
        let writer = Writer {
            disk,
            cache: cache.clone(),
            indexer: indexer.clone(),
            compacted: compacted.clone(),
            config,
            counter,
            garbage: loaded.garbage,
            volatile: Volatile::new(loaded.volatile),
            dead: VecDeque::new(),
            dead_since: None,
            compactors: Vec::new(),
            walks: VecDeque::new(),
        };
        let started = std::thread::Builder::new().name("store".into()).spawn(move || writer.run(received));
        started.map_err(|source| OpenError::Io { step: "start the writer of", path: path.clone(), source })?;
        Ok(Self { cache, indexer, compacted, jobs, path })
    }

    /// Queues a job and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

#[async_trait]
impl Store for Sqlite {
    fn revision(&self) -> Revision {
        self.cache.revision()
    }
    fn oldest(&self) -> Revision {
        Revision(self.compacted.load(Ordering::Acquire))
    }
    fn get(&self, key: &str) -> Option<Entry> {
        self.cache.get(key)
    }
    fn list(&self, query: &ListQuery) -> Page {
        self.cache.list(query)
    }
    fn count(&self, prefix: &str) -> (usize, u64) {
        self.cache.count(prefix)
    }
    fn size(&self) -> Option<u64> {
        let of = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
        Some(["db", "db-journal", "log"].iter().map(|e| of(&self.path.with_extension(e))).sum())
    }
    async fn list_at(&self, query: &ListQuery, at: Revision) -> Result<Page, StoreError> {
        let oldest = self.oldest();
        if at < oldest {
            return Err(StoreError::Compacted { asked: at, oldest });
        }
        match self.cache.list_at(query, at)? {
            Some(page) => Ok(page),
            None => self.ask(|reply| Job::History(query.clone(), at, reply)).await,
        }
    }
    async fn commit(&self, write: Write) -> Result<Entry, StoreError> {
        let row = write.body.as_ref().map(|body| Arc::new(self.indexer.row(&write.key, &body.bytes)));
        self.ask(|reply| Job::Commit(Proposal { write, row }, reply)).await
    }
    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.cache.watch(prefix, after)
    }
    async fn wait_for(&self, revision: Revision) {
        self.cache.wait_for(revision).await;
    }
    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let current = self.revision();
        if revision > current {
            return Err(StoreError::Future { asked: revision, current });
        }
        self.ask(|reply| Job::Compact(revision, reply)).await
    }
    async fn answers(&self) -> Result<(), StoreError> {
        self.ask(Job::Answer).await
    }
    async fn sealed(&self, again: bool) -> Result<Sealed, StoreError> {
        self.ask(|reply| Job::Sealed(again, reply)).await
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.ask(Job::Close).await
    }
}
