//! The server role: which parts there are, in which order they start, and how they end.

pub mod admin;
mod api;
mod backends;
mod bootstrap;
mod control;
mod gate;
mod identity;
mod kubeconfig;
pub mod lock;
mod manifests;
pub mod network;
pub mod node;
mod settings;
mod tokens;

use crate::cli::{LogFormat, ServerArgs};
use anyhow::Context;
use settings::Settings;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long parts may take to end.
const GRACE: Duration = Duration::from_secs(20);

/// Runs until SIGTERM or SIGINT.
pub fn run(args: ServerArgs) -> anyhow::Result<()> {
    skiff_telemetry::start(&args.log_level, args.log_format == LogFormat::Json)?;
    let settings = Settings::of(args)?;
    if settings.node.is_some() {
        crate::check::required()?;
    }
    let _lock = lock::take(&settings.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).max_blocking_threads(64).thread_name("skiff").enable_all().build().context("start the async runtime")?;
    let ended = runtime.block_on(serve(settings));
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended
}

/// Few threads: each has a stack and a share of the allocator.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().clamp(1, 4))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let api = api::start(&settings).await?;
    tasks.spawn(api.definitions.clone().run(tasks.clone(), stop.clone()));
    bootstrap::ensure(&api, &settings).await?;
    kubeconfig::write(&settings, &api.keys)?;
    let informers = control::start(&api, &settings, &tasks, &stop);
    let agent = match &settings.node {
        Some(n) => Some(node::start(&api, &settings, n, &informers, &tasks, &stop).await?),
        None => None,
    };
    admin::start(&settings, agent.as_ref().map(|a| a.images.clone()), &tasks, &stop)?;
    manifests::follow(&api, &settings, &tasks, &stop);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(target: "skiff", kubeconfig = %settings.kubeconfig.display(), "ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(target: "skiff", "stopping; containers go on");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if let Some(agent) = &agent {
        agent.handle.stop();
    }
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(target: "skiff", "some parts did not end in time");
    }
    api.stop(GRACE).await
}
