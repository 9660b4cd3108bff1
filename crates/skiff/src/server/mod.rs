//! The server role: which parts there are, in which order they start, and how they end.

mod access;
mod account_tokens;
mod api;
pub mod audit;
mod backends;
mod bootstrap;
mod control;
pub mod encryption;
mod gate;
mod health;
mod identity;
mod joining;
mod kubeconfig;
mod manifests;
mod node;
mod outside;
mod reload;
mod role;
mod settings;
mod token_uses;
pub mod tokens;

use crate::cli::{LogFormat, ServerArgs};
use crate::{admin, lock, node::door};
use anyhow::Context;
use settings::Settings;
use std::{collections::BTreeMap, time::Duration};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long parts may take to end.
const GRACE: Duration = Duration::from_secs(20);

/// Runs until SIGTERM or SIGINT.
pub fn run(args: ServerArgs, flags: BTreeMap<String, String>) -> anyhow::Result<()> {
    skiff_telemetry::start(&args.log_level, args.log_format == LogFormat::Json)?;
    let settings = Settings { flags, ..Settings::of(args)? };
    if settings.node.is_some() {
        crate::check::required(&settings.data)?;
    }
    let _locks = (lock::take(&settings.data)?, lock::take_run(&settings.run)?);
    admin::own(&settings.run, &settings.data)?;
    crate::process::run(serve(settings))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let mut end = crate::process::End::listen()?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let api = api::start(&settings).await?;
    tasks.spawn(api.definitions.clone().run(tasks.clone(), stop.clone()));
    api.health.definitions_followed();
    api.encryption.follow(&tasks, &stop);
    api.access.follow(&tasks, &stop);
    let (facts, tokens) = (settings.facts(api.keys.client_ca.certificate(), api.dns), tokens::Tokens::new(&api)?);
    let informers = control::start(&api, &settings, &tasks, &stop);
    api.health.informers_started(informers.clone());
    admin::record(&settings.run, settings.traces(&facts))?;
    let joining = async { joining::ensure(&api, &facts, &settings.data, &tokens).await.context("make ready for nodes that join") };
    let agent = async {
        let Some(n) = &settings.node else { return Ok(None) };
        let role = role::keep(api.master().named("skiff-role"), informers.clone(), n.name.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(role));
        node::start(&api, n, &facts, &informers, &tasks, &stop).await.map(Some)
    };
    let ((), agent) = tokio::try_join!(joining, agent)?;
    let (images, runtime) = agent.as_ref().map(|a| (a.images.clone(), a.runtime.clone())).unzip();
    let door = door::Door { images, runtime, tokens: Some(tokens), encryption: Some(api.encryption.clone()) };
    door::open(&settings.run, door, &tasks, &stop)?;
    manifests::follow(&api, &settings, &tasks, &stop);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(target: "skiff", kubeconfig = %settings.kubeconfig.display(), "ready");
    end.wait().await;
    tracing::info!(target: "skiff", "stopping; containers go on");
    api.health.end();
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
