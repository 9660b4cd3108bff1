//! `skiff stop --all`: ends every container and takes away what Skiff made on this machine. State stays: the datastore,
//! images, and local-path volumes.
//!
//! What there is to end, the record in the run folder tells ([`Traces`]); the flags count only for what an older version did
//! not record. The record goes last, so that a stop that failed can be done again.
use crate::admin::{Traces, absolute, read_traces, traces};
use crate::cli::Places;
use crate::{lock, node};
use anyhow::{Context, bail};
use skiff_cri::{Network, Snapshots};
use skiff_network::NodeNetwork;
use skiff_runtime::EmbeddedRuntime;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn run(all: bool, places: &Places) -> anyhow::Result<()> {
    if !all {
        bail!("containers outlive the server on purpose: end the server with SIGTERM (systemctl stop skiff), and containers too with `skiff stop --all`");
    }
    let run = &places.run_dir;
    if !traces(run).exists() && !lock::of_run(run).exists() {
        println!("nothing of Skiff is here ({} has no record of a server; did it run with another --run-dir?)", run.display());
        return Ok(());
    }
    let _run = lock::take_run(run).context("stop the server first")?;
    let Some(traces) = read_traces(run)? else {
        // A start that came to nothing.
        clear(run)?;
        println!("nothing of Skiff is left in {}", run.display());
        return Ok(());
    };
    let places = Recorded::of(&traces, places);
    if !places.data.is_dir() {
        bail!("there is no state folder {}: name the server's by --data-dir", places.data.display());
    }
    let _data = lock::take(&places.data).context("stop the server first")?;
    if traces.has_node() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(containers(run, &places.data, &traces))?;
        println!("containers ended");
        volumes(&places.kubelet.join("pods"))?;
        println!("volumes unmounted");
    }
    clear(run)?;
    println!("done; state is kept in {}{}", places.data.display(), places.logs());
    Ok(())
}

/// Where things are, by the record, else by the flags.
struct Recorded {
    data: PathBuf,
    kubelet: PathBuf,
    logs: PathBuf,
}

impl Recorded {
    fn of(t: &Traces, places: &Places) -> Self {
        let or = |recorded: &Path, other: PathBuf| if recorded.as_os_str().is_empty() { other } else { recorded.to_owned() };
        let data = or(&t.data, absolute(&places.data_dir));
        Self { kubelet: or(&t.kubelet, node::settings::kubelet(&data)), logs: t.logs.clone(), data }
    }
    /// What to say of containers' logs.
    fn logs(&self) -> String {
        if self.logs.as_os_str().is_empty() { String::new() } else { format!(", logs in {}", self.logs.display()) }
    }
}

/// Empties the run folder and takes it away, the record after everything else and the lock at the very end.
fn clear(run: &Path) -> anyhow::Result<()> {
    let last = [traces(run), lock::of_run(run)];
    for entry in std::fs::read_dir(run).with_context(|| format!("read {}", run.display()))? {
        let entry = entry.with_context(|| format!("read {}", run.display()))?;
        let path = entry.path();
        if last.contains(&path) {
            continue;
        }
        let folder = entry.file_type().with_context(|| format!("look at {}", path.display()))?.is_dir();
        let removed = if folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    std::fs::remove_dir_all(run).with_context(|| format!("remove {}", run.display()))
}

async fn containers(run: &Path, data: &Path, t: &Traces) -> anyhow::Result<()> {
    let images = node::images(data, &t.registries)?;
    let settings = skiff_network::Settings {
        prefix: t.prefix.clone(),
        node: t.node.clone(),
        address: None,
        pods: t.pods.clone(),
        services: t.services.clone(),
        dns: None,
        state: node::settings::network_state(data),
    };
    let net = NodeNetwork::open(settings)?;
    let config = skiff_runtime::Config { run: run.join("containers"), cgroup_root: t.cgroup.clone(), ..Default::default() };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Places {
        Places { config: None, data_dir: "/flags".into(), run_dir: "/run/skiff".into(), config_dir: "/etc/skiff".into() }
    }

    #[test]
    fn the_record_goes_before_the_flags() {
        let recorded = Traces { data: "/a".into(), kubelet: "/k".into(), logs: "/l".into(), ..Traces::default() };
        let r = Recorded::of(&recorded, &flags());
        assert_eq!((r.data.as_path(), r.kubelet.as_path(), r.logs().as_str()), (Path::new("/a"), Path::new("/k"), ", logs in /l"));
        let r = Recorded::of(&Traces::default(), &flags());
        assert_eq!((r.data.as_path(), r.kubelet.as_path(), r.logs().as_str()), (Path::new("/flags"), Path::new("/flags/agent/kubelet"), ""));
    }

    #[test]
    fn a_run_folder_goes_whole() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        std::fs::create_dir_all(run.join("containers/sandboxes")).unwrap();
        for name in ["server.json", "run.lock", "skiff.sock"] {
            std::fs::write(run.join(name), "").unwrap();
        }
        clear(&run).unwrap();
        assert!(!run.exists());
    }
}
