//! Opening the runtime: fresh, after a restart, after a reboot; and taking everything away.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use skiff_cri::{ContainerId, Network, Result, Runtime, RuntimeError, SandboxId, Snapshots};
use skiff_oci::cgroup::Cgroup;
use skiff_shim::protocol::{Answer, EXIT, Exit, Request};
use tokio::sync::broadcast;

use crate::Config;
use crate::client::Shim;
use crate::state::{Container, ContainerRecord, EmbeddedRuntime, Ended, Inner, Sandbox, SandboxRecord, Tables, now, read_json};

pub(crate) fn read_exit(folder: &Path) -> Option<Exit> {
    read_json(&folder.join(EXIT))
}

fn failed(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> RuntimeError {
    let step = step.into();
    move |source| RuntimeError::failed(step, source)
}

impl EmbeddedRuntime {
    /// Finds what an earlier daemon left and goes on with it.
    pub async fn open(config: Config, snapshots: Arc<dyn Snapshots>, network: Arc<dyn Network>) -> Result<Self> {
        fs::create_dir_all(config.sandboxes()).map_err(failed(format!("create {}", config.run.display())))?;
        forget_other_boot(&config)?;
        let inner = Inner { config, snapshots, network, tables: Mutex::new(Tables::default()), events: broadcast::channel(4096).0 };
        let runtime = Self { inner: Arc::new(inner) };
        let found = fs::read_dir(runtime.inner.config.sandboxes()).map_err(failed("list sandboxes"))?;
        for entry in found.flatten() {
            let id = SandboxId::new(entry.file_name().to_string_lossy());
            match read_json::<SandboxRecord>(&entry.path().join("sandbox.json")) {
                Some(record) if record.id == id => runtime.take_up(record).await,
                // It broke off while it was being made.
                _ => runtime.clear_sandbox(&id, None).await?,
            }
        }
        runtime.release_leftovers().await?;
        Ok(runtime)
    }

    async fn take_up(&self, record: SandboxRecord) {
        let id = record.id.clone();
        let folder = self.inner.config.sandbox(&id);
        let ready = record.ready;
        {
            let mut tables = self.inner.tables.lock();
            tables.sandboxes.insert(id.clone(), Sandbox { record });
            for entry in fs::read_dir(folder.join("containers")).into_iter().flatten().flatten() {
                match read_json::<ContainerRecord>(&entry.path().join("container.json")) {
                    Some(container) => {
                        tables.containers.insert(container.id.clone(), Container::new(container));
                    }
                    None => {
                        if let Err(error) = fs::remove_dir_all(entry.path()) {
                            tracing::warn!(target: "node::runtime", folder = %entry.path().display(), %error, "half-made container not removed");
                        }
                    }
                }
            }
        }
        let found = self.ask_shim(&folder).await;
        let reachable = found.is_some();
        if let Some((shim, running)) = found {
            self.compare(&id, &running);
            self.follow(id.clone(), shim);
        }
        if !reachable && ready {
            self.lost(&id);
        } else if !reachable {
            self.compare(&id, &[]);
        }
    }

    pub(crate) async fn ask_shim(&self, folder: &Path) -> Option<(Shim, Vec<(ContainerId, i32, Option<Exit>)>)> {
        let mut shim = Shim::connect(folder).await.ok()?;
        match shim.request(&Request::List, &[]).await {
            Ok(Answer::Containers(list)) => {
                let list = list.into_iter().map(|c| (ContainerId::new(c.container), c.pid, c.exit)).collect();
                Some((shim, list))
            }
            _ => None,
        }
    }

    /// Records against what the shim has: exits that nobody heard of, starts that nobody wrote down.
    fn compare(&self, sandbox: &SandboxId, running: &[(ContainerId, i32, Option<Exit>)]) {
        let containers = self.inner.tables.lock().containers_of(sandbox);
        for id in containers {
            let known = running.iter().find(|(other, ..)| *other == id);
            let exit = known.and_then(|(.., exit)| *exit).or_else(|| read_exit(&self.inner.container_folder(sandbox, &id)));
            let mut tables = self.inner.tables.lock();
            let Ok(container) = tables.container(&id) else { continue };
            if container.record.ended.is_some() {
                // Its start counts as failed: it must not go on unseen.
                if known.is_some_and(|(.., exit)| exit.is_none()) {
                    let (runtime, cgroup) = (self.clone(), container.record.spec.cgroup.clone());
                    tokio::spawn(async move { runtime.kill_cgroup(&id, cgroup).await });
                }
                continue;
            }
            if known.is_some() && container.record.started_at == 0 {
                container.record.started_at = now();
            }
            let started = container.record.started_at > 0;
            container.pid = known.map(|(_, pid, _)| *pid as u32);
            drop(tables);
            let lost = || Ended { code: 137, reason: skiff_cri::ExitReason::Lost, message: "the container was lost".into(), finished_at: now() };
            match (exit, known) {
                (Some(exit), _) => self.end(&id, Ended::from_exit(&exit)),
                (None, None) if started => self.end(&id, lost()),
                _ => {}
            }
        }
    }

    /// Root file systems of containers that nobody knows.
    async fn release_leftovers(&self) -> Result<()> {
        let known: BTreeSet<ContainerId> = self.inner.tables.lock().containers.keys().cloned().collect();
        for id in self.inner.snapshots.prepared().await? {
            if !known.contains(&id) && !id.as_str().starts_with(skiff_cri::VOLUME_SNAPSHOT) {
                self.inner.snapshots.release(&id).await?;
            }
        }
        Ok(())
    }

    /// Ends every container and takes away what this runtime made: shims, mounts, namespaces, cgroups, records.
    pub async fn stop_all(&self) -> Result<()> {
        let sandboxes: Vec<SandboxId> = self.inner.tables.lock().sandboxes.keys().cloned().collect();
        let removals = sandboxes.iter().map(|id| self.remove_sandbox(id));
        for removed in futures::future::join_all(removals).await {
            removed?;
        }
        self.release_leftovers().await?;
        for volume in self.inner.snapshots.prepared().await? {
            self.inner.snapshots.release(&volume).await?;
        }
        let root = self.inner.config.cgroup_root.clone();
        let removed = tokio::task::spawn_blocking(move || Cgroup::open(&root).and_then(|cgroup| cgroup.remove(Duration::from_secs(5)))).await;
        match removed {
            Ok(Err(error)) => return Err(RuntimeError::failed("remove the runtime's cgroup", error)),
            Err(error) => return Err(RuntimeError::failed("remove the runtime's cgroup", error)),
            Ok(Ok(())) => {}
        }
        let gone = fs::remove_dir_all(self.inner.config.sandboxes()).and_then(|()| fs::remove_file(self.inner.config.run.join("boot-id")));
        gone.map_err(failed("remove the run folder"))
    }
}

/// After a reboot mounts and processes are gone, but on a disk the records are not.
fn forget_other_boot(config: &Config) -> Result<()> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(failed("read the boot id"))?;
    let mark = config.run.join("boot-id");
    let known = fs::read_to_string(&mark).ok();
    if known.is_some_and(|known| known != boot) {
        fs::remove_dir_all(config.sandboxes()).map_err(failed("remove records of an earlier boot"))?;
        fs::create_dir_all(config.sandboxes()).map_err(failed("create the run folder"))?;
    }
    fs::write(&mark, boot).map_err(failed("write the boot id"))
}
