//! How the store is set up.
use skiff_cache::Limits;
use skiff_store::{Sealing, Unsealed};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone)]
pub struct Config {
    /// The folder of `state.db`; made (0700) when it is not there.
    pub dir: PathBuf,
    pub sealing: Arc<dyn Sealing>,
    pub limits: Limits,
    /// How long the volatile tier may stay in memory alone. A durable write that comes in the last quarter takes it along.
    pub volatile_checkpoint: Duration,
    /// Rows that compaction may delete are left where they are until there are so many …
    pub dead_rows: usize,
    /// … or the first of them has waited so long: deleting a few costs as much as deleting many.
    pub dead_time: Duration,
    /// How large the log of commits grows before they go into the database.
    pub journal_bytes: usize,
    /// The most writes in one transaction.
    pub group_writes: usize,
    /// The most bytes of values in one transaction (the last value may pass it).
    pub group_bytes: usize,
}

impl Config {
    /// The defaults of a server, but for sealing: nothing is.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            sealing: Arc::new(Unsealed),
            limits: Limits::default(),
            volatile_checkpoint: Duration::from_secs(3600),
            dead_rows: 1000,
            dead_time: Duration::from_secs(6 * 3600),
            journal_bytes: 2 << 20,
            group_writes: 512,
            group_bytes: 4 << 20,
        }
    }
}
