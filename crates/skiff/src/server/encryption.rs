//! Encryption at rest: opened before the datastore, its file followed, its commands answered.
use crate::admin::{EncryptionAsk, EncryptionStatus};
use crate::server::reload::File;
use crate::server::settings::Settings;
use anyhow::{Context, bail};
use skiff_seal::{Configured, Own, Sealer};
use skiff_store::{Sealed, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often plugins are asked whether they are well.
const PLUGINS: Duration = Duration::from_secs(60);

/// The sealer of a datastore: with a key of its own from the first start, and the providers of a file when there is one.
pub async fn open(s: &Settings) -> anyhow::Result<Arc<Sealer>> {
    let dir = s.data.join("server/db");
    let fresh = std::fs::metadata(dir.join("state.db")).map_or(true, |m| m.len() == 0);
    let own = Own::open(dir.join("seal.key"), fresh)?;
    let configured = match &s.outside.encryption {
        Some(path) => Some(read(path).await?),
        None => None,
    };
    Ok(Arc::new(Sealer::new(own, configured)))
}

async fn read(path: &std::path::Path) -> anyhow::Result<Configured> {
    let told = || format!("read the encryption configuration {}", path.display());
    let configured = Configured::parse(&File::read(path).with_context(told)?).with_context(told)?;
    configured.ready().await.with_context(told)?;
    Ok(configured)
}

#[derive(Clone)]
pub struct Encryption {
    sealer: Arc<Sealer>,
    store: Arc<dyn Store>,
    file: Option<PathBuf>,
    /// One command, or one change of the file, at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Encryption {
    pub fn new(sealer: Arc<Sealer>, store: Arc<dyn Store>, s: &Settings) -> Self {
        Self { sealer, store, file: s.outside.encryption.clone(), turn: Arc::default() }
    }

    /// Follows the file and the plugins; what lies otherwise than today's settings say is sealed anew, at start too.
    pub fn follow(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let this = self.clone();
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { this.run().await }));
    }

    async fn run(self) {
        let mut file = self.file.as_ref().map(File::new);
        let mut asked = Instant::now();
        let mut stale = true;
        loop {
            if stale {
                let _turn = self.turn.lock().await;
                self.again().await;
            }
            tokio::time::sleep(crate::server::reload::EVERY).await;
            stale = match &mut file {
                Some(file) => file.changed() && self.reload(file).await,
                None => false,
            };
            if let Some(configured) = self.sealer.configured().filter(|c| c.has_plugins() && asked.elapsed() >= PLUGINS) {
                asked = Instant::now();
                stale |= configured.refresh().await;
            }
        }
    }

    /// True when the new settings hold. Settings that are wrong change nothing.
    async fn reload(&self, file: &File) -> bool {
        let _turn = self.turn.lock().await;
        match read(file.path()).await {
            Ok(configured) => {
                self.sealer.configure(Some(configured));
                tracing::info!(target: "store", file = %file.path().display(), "the encryption configuration was read anew");
                true
            }
            Err(e) => {
                tracing::error!(target: "store", error = format!("{e:#}"), "the encryption configuration is not taken, the one before holds");
                false
            }
        }
    }

    async fn again(&self) {
        match self.store.sealed(true).await {
            Ok(Sealed { failed: Some((object, why)), stale, .. }) => tracing::error!(target: "store", object, %why, stale, "values could not be sealed anew"),
            Ok(_) => {}
            Err(error) => tracing::warn!(target: "store", %error, "values could not be sealed anew"),
        }
    }

    pub async fn answer(&self, ask: EncryptionAsk) -> anyhow::Result<EncryptionStatus> {
        let _turn = self.turn.lock().await;
        let own = self.sealer.own();
        if let (false, Some(file)) = (matches!(ask, EncryptionAsk::Status | EncryptionAsk::Reencrypt), &self.file) {
            bail!(
                "the keys are those of {}: put a new one in front of the old there, the server takes it and encrypts anew by itself; then remove the old one",
                file.display()
            );
        }
        match ask {
            EncryptionAsk::Status => return self.status(self.store.sealed(false).await?),
            EncryptionAsk::Prepare => own.prepare()?,
            EncryptionAsk::Rotate if own.state().1.len() < 2 => bail!("there is no key to rotate to: prepare one first"),
            EncryptionAsk::Rotate => own.rotate()?,
            EncryptionAsk::Reencrypt => return self.reencrypt().await,
            EncryptionAsk::RotateKeys => {
                own.prepare()?;
                own.rotate()?;
                return self.reencrypt().await;
            }
            EncryptionAsk::Enable | EncryptionAsk::Disable => {
                own.switch(matches!(ask, EncryptionAsk::Enable))?;
                return self.reencrypt().await;
            }
        }
        self.status(self.store.sealed(false).await?)
    }

    /// Old keys go only when nothing needs them.
    async fn reencrypt(&self) -> anyhow::Result<EncryptionStatus> {
        let told = self.store.sealed(true).await?;
        if let Some((object, why)) = &told.failed {
            bail!("{} values could not be sealed anew and lie as before, the first is {object}: {why}", told.stale);
        }
        self.sealer.own().prune()?;
        self.status(told)
    }

    fn status(&self, told: Sealed) -> anyhow::Result<EncryptionStatus> {
        let (off, keys) = self.sealer.own().state();
        let configured = self.sealer.configured().map(|c| c.describe()).unwrap_or_default();
        let stage = match (told.stale, keys.len()) {
            (0, 1) => "reencrypt_finished",
            (0, _) => "prepare",
            _ => "rotate",
        };
        let mut rules: Vec<(String, String)> = configured.into_iter().map(|(r, p)| (r.join(","), p)).collect();
        if !rules.iter().any(|(r, _)| r.split(',').any(|r| matches!(r, "secrets" | "*." | "*.*"))) {
            rules.push(("secrets".into(), if off { "identity".into() } else { format!("own key {}", keys.first().map_or("", String::as_str)) }));
        }
        Ok(EncryptionStatus { rules, own_keys: keys, file: self.file.clone(), stage: stage.into(), values: told.by, stale: told.stale })
    }
}
