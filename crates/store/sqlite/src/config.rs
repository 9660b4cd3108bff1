//! How the store is set up.
use skiff_cache::Limits;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of `state.db` and `seal.key`; made (0700) when it is not there.
    pub dir: PathBuf,
    /// Keys that start so are sealed on disk: `secrets/`.
    pub sealed_prefixes: Vec<String>,
    pub limits: Limits,
    /// How long the volatile tier may stay in memory alone. A durable write that comes in the last quarter takes it along.
    pub volatile_checkpoint: Duration,
    /// The most writes in one transaction.
    pub group_writes: usize,
    /// The most bytes of values in one transaction (the last value may pass it).
    pub group_bytes: usize,
}

impl Config {
    /// The defaults of a server.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            sealed_prefixes: vec!["secrets/".into()],
            limits: Limits::default(),
            volatile_checkpoint: Duration::from_secs(3600),
            group_writes: 512,
            group_bytes: 4 << 20,
        }
    }
    pub(crate) fn seals(&self, key: &str) -> bool {
        self.sealed_prefixes.iter().any(|p| key.starts_with(p.as_str()))
    }
}
