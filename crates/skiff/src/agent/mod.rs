//! The agent role: a node that joins a server's cluster and reaches it over TLS alone.
//!
//! The first start goes by the token: it recognises the server ([`join`]), and gets a certificate by a request that the cluster's
//! controllers approve and sign ([`skiff_identity`]). Later starts use what is kept in `<data>/agent`, so that neither the
//! token nor a running server is needed for containers to go on.

mod gate;
mod join;

use crate::cli::{AgentArgs, LogFormat};
use crate::node::{self, Wiring, door, settings::NodeSettings};
use crate::{admin, lock, process};
use anyhow::Context;
use skiff_client::{Client, tls::Https};
use skiff_identity::{Serving, keep_client, keep_serving};
use skiff_informer::Informers;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long parts may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
pub fn run(args: AgentArgs) -> anyhow::Result<()> {
    skiff_telemetry::start(&args.log_level, args.log_format == LogFormat::Json)?;
    let node = NodeSettings::of(&args.node, &args.places, args.bind_address)?;
    crate::check::required(&node.data)?;
    let _locks = (lock::take(&node.data)?, lock::take_run(&node.run)?);
    admin::own(&node.run, &node.data)?;
    let token = join::token(&args)?;
    process::run(serve(args, node, token))
}

async fn serve(args: AgentArgs, n: NodeSettings, token: Option<crate::token::Token>) -> anyhow::Result<()> {
    let mut end = process::End::listen()?;
    let kept = join::Kept::new(&n.data);
    let join = async {
        let endpoint = join::endpoint(&args.server, &n, &kept, token.as_ref()).await?;
        let https = Arc::new(Https::new(endpoint).context("set up the way to the server")?);
        let client = Client::new(https.clone(), "kubelet");
        let facts = join::facts(&client, &kept).await?;
        anyhow::Ok((https, client, facts))
    };
    let (https, client, facts) = tokio::select! {
        joined = join => joined?,
        () = end.wait() => return Ok(()),
    };
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let serving = Serving::open(&kept.serving());
    let wiring = Wiring {
        client: client.clone(),
        reclaim: client.named("local-path-provisioner"),
        informers: Informers::new(client.clone()),
        gate: Arc::new(gate::Delegated::new(client.clone(), n.name.clone())),
        tls: serving.config(&facts.client_ca)?,
    };
    tasks.spawn(stop.clone().run_until_cancelled_owned(keep_client(client.clone(), https, n.name.clone(), kept.client())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(keep_serving(client, serving, n.name.clone(), n.address, kept.serving())));
    admin::record(&n.run, n.traces(&facts))?;
    let agent = node::start(&n, &facts, wiring, &tasks, &stop).await?;
    door::open(&n.run, door::Door { images: Some(agent.images.clone()), runtime: Some(agent.runtime.clone()), ..Default::default() }, &tasks, &stop)?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(target: "skiff", server = args.server, node = n.name, "ready");
    end.wait().await;
    tracing::info!(target: "skiff", "stopping; containers go on");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    agent.handle.stop();
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(target: "skiff", "some parts did not end in time");
    }
    Ok(())
}
