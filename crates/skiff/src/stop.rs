//! `skiff stop --all`: ends every container and takes away what Skiff made on this machine. State stays: the datastore,
//! images, and local-path volumes.
use crate::admin::read_traces;
use crate::cli::Places;
use crate::lock;
use crate::node;
use anyhow::{Context, bail};
use skiff_cri::{Network, Snapshots};
use skiff_network::NodeNetwork;
use skiff_runtime::EmbeddedRuntime;
use std::path::Path;
use std::sync::Arc;

pub fn run(all: bool, places: &Places) -> anyhow::Result<()> {
    if !all {
        bail!("containers outlive the server on purpose: end the server with SIGTERM (systemctl stop skiff), and containers too with `skiff stop --all`");
    }
    let _lock = lock::take(&places.data_dir).context("stop the server first")?;
    let Some(traces) = read_traces(&places.run_dir)? else {
        println!("nothing of Skiff is here ({} has no record of a server)", places.run_dir.display());
        return Ok(());
    };
    if !traces.prefix.is_empty() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(containers(places, &traces))?;
        println!("containers ended");
        volumes(&places.data_dir.join("agent/kubelet/pods"))?;
        println!("volumes unmounted");
    }
    std::fs::remove_dir_all(&places.run_dir).with_context(|| format!("remove {}", places.run_dir.display()))?;
    println!("done; state is kept in {}", places.data_dir.display());
    Ok(())
}

async fn containers(places: &Places, t: &crate::admin::Traces) -> anyhow::Result<()> {
    let images = node::images(&places.data_dir, &t.registries)?;
    let settings = skiff_network::Settings {
        prefix: t.prefix.clone(),
        node: t.node.clone(),
        address: None,
        pods: t.pods.clone(),
        services: t.services.clone(),
        dns: None,
        state: node::settings::network_state(&places.data_dir),
    };
    let net = NodeNetwork::open(settings)?;
    let config = skiff_runtime::Config { run: places.run_dir.join("containers"), cgroup_root: t.cgroup.clone(), ..Default::default() };
    let (snapshots, network): (Arc<dyn Snapshots>, Arc<dyn Network>) = (Arc::new(images), Arc::new(net.pods().clone()));
    let runtime = EmbeddedRuntime::open(config, snapshots, network).await.context("open the container runtime")?;
    runtime.stop_all().await.context("end the containers")?;
    net.clean_up().context("take the node's network away")
}

fn volumes(pods: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(pods) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("read {}", pods.display()))?,
    };
    for entry in entries {
        let dir = entry?.path();
        skiff_volumes::tear_down(&dir).with_context(|| format!("unmount the volumes in {}", dir.display()))?;
    }
    Ok(())
}
