//! The policy, the outlets behind it, and what is counted.
use crate::{
    event::Event,
    file::LogOptions,
    outlet::{Outlet, OutletError},
    policy::{Level, Policy, Stage},
    webhook::{WebhookError, WebhookOptions},
};
use parking_lot::Mutex;
use skiff_telemetry::metrics::Exposition;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use thiserror::Error;
use tokio::task::JoinHandle;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Setup {
    pub policy: Policy,
    pub log: Option<LogOptions>,
    pub webhook: Option<WebhookOptions>,
}

#[derive(Debug, Error)]
pub enum SetupError {
    #[error("open the audit log")]
    Log(#[source] OutletError),
    #[error("set up the audit webhook")]
    Webhook(#[source] WebhookError),
}

pub struct Auditor {
    pub(crate) policy: Policy,
    outlets: Mutex<Arc<[Outlet]>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    events: AtomicU64,
    levels: [AtomicU64; Level::ALL.len()],
    rejected: AtomicU64,
}

impl Auditor {
    /// Opens the outlets and starts their workers.
    pub fn start(setup: &Setup, now: Arc<dyn Fn() -> SystemTime + Send + Sync>) -> Result<Arc<Self>, SetupError> {
        let (mut outlets, mut workers) = (Vec::new(), Vec::new());
        let mut add = |(outlet, worker)| {
            outlets.push(outlet);
            workers.push(worker);
        };
        if let Some(log) = &setup.log {
            add(log.open().map_err(SetupError::Log)?);
        }
        if let Some(webhook) = &setup.webhook {
            add(webhook.open().map_err(SetupError::Webhook)?);
        }
        Ok(Arc::new(Self::of(setup.policy.clone(), outlets, workers, now)))
    }

    pub(crate) fn of(policy: Policy, outlets: Vec<Outlet>, workers: Vec<JoinHandle<()>>, now: Arc<dyn Fn() -> SystemTime + Send + Sync>) -> Self {
        Self {
            policy,
            outlets: Mutex::new(outlets.into()),
            workers: Mutex::new(workers),
            now,
            events: AtomicU64::new(0),
            levels: Default::default(),
            rejected: AtomicU64::new(0),
        }
    }

    /// Writes what is queued, for as long as `grace`, and takes nothing more.
    pub async fn stop(&self, grace: Duration) {
        *self.outlets.lock() = Arc::new([]);
        let workers = std::mem::take(&mut *self.workers.lock());
        let ended = async {
            for w in workers {
                let _ = w.await;
            }
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::warn!(target: "audit", "audit events were still queued when the server stopped");
        }
    }

    pub(crate) fn judged(&self, level: Level) {
        if let Some(n) = self.levels.get(level as usize) {
            n.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends an event. False when an outlet that is strict does not have it.
    pub(crate) async fn send(&self, event: &Event, stage: Stage, notes: &BTreeMap<String, String>) -> bool {
        self.events.fetch_add(1, Ordering::Relaxed);
        let (outlets, at) = (self.outlets.lock().clone(), (self.now)());
        let mut kept = true;
        for outlet in &*outlets {
            kept &= outlet.put(event, stage, at, notes).await || !outlet.strict;
        }
        kept
    }

    /// The same where nobody can wait.
    pub(crate) fn send_now(&self, event: &Event, stage: Stage, notes: &BTreeMap<String, String>) {
        self.events.fetch_add(1, Ordering::Relaxed);
        let (outlets, at) = (self.outlets.lock().clone(), (self.now)());
        outlets.iter().for_each(|o| o.put_now(event, stage, at, notes));
    }

    pub(crate) fn reject(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub fn metrics(&self, out: &mut Exposition) {
        out.single("apiserver_audit_event_total", "counter", "Audit events made", self.events.load(Ordering::Relaxed));
        out.single(
            "apiserver_audit_requests_rejected_total",
            "counter",
            "Requests refused because they could not be recorded",
            self.rejected.load(Ordering::Relaxed),
        );
        out.family("apiserver_audit_level_total", "counter", "Requests by the level at which they are recorded");
        for (level, n) in Level::ALL.iter().zip(&self.levels) {
            out.sample("apiserver_audit_level_total", &[("level", level.as_str())], n.load(Ordering::Relaxed));
        }
        out.family("apiserver_audit_error_total", "counter", "Audit events that are lost");
        for outlet in &**self.outlets.lock() {
            out.sample("apiserver_audit_error_total", &[("plugin", outlet.name)], outlet.errors.load(Ordering::Relaxed));
        }
    }
}
