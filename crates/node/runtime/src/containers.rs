//! Containers, step by step: made, ended, taken away. Their start is in `launch`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use skiff_cri::{ContainerConfig, ContainerId, ContainerState, PidMode, PreparedRootfs, Result, RuntimeError, RuntimeEvent, SandboxId, Seccomp};
use skiff_oci::cgroup::Cgroup;
use skiff_shim::protocol::Request;

use crate::client::Shim;
use crate::files::{PATIENCE, blocking, failed, oci_failed, remove_folder};
use crate::sandboxes::provided_files;
use crate::spec::{self, Inputs};
use crate::state::{Container, ContainerRecord, EmbeddedRuntime, Name, Reserved, SandboxRecord, new_id, now};
use crate::user;

impl EmbeddedRuntime {
    pub(crate) async fn make_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        let pod = self.inner.tables.lock().sandbox(sandbox)?.record.clone();
        if !pod.ready {
            return Err(RuntimeError::Precondition(format!("sandbox {sandbox} is not ready")));
        }
        let _reserved = Reserved::take(&self.inner, Name::Container(sandbox.clone(), config.metadata.clone()))?;
        let id = ContainerId::new(new_id()?);
        let prepared = self.inner.snapshots.prepare(&config.image, &id).await?;
        if let Err(error) = self.record_container(pod, &id, config, prepared).await {
            if let Err(left) = self.inner.snapshots.release(&id).await {
                tracing::warn!(target: "node::runtime", container = %id, error = %left.full_message(), "root file system of a failed container not released");
            }
            return Err(error);
        }
        self.inner.push(RuntimeEvent::ContainerCreated { sandbox: sandbox.clone(), container: id.clone() });
        Ok(id)
    }

    async fn record_container(&self, pod: SandboxRecord, id: &ContainerId, config: &ContainerConfig, prepared: PreparedRootfs) -> Result<()> {
        let target_pid = match &config.pid {
            Some(PidMode::Target(target)) => self.inner.tables.lock().container(target)?.pid,
            _ => None,
        };
        let (inner, id, config) = (self.inner.clone(), id.clone(), config.clone());
        blocking(move || {
            let folder = inner.config.sandbox(&pod.id);
            let record = describe(&folder, &pod, id, config, &prepared, target_pid)?;
            let own = inner.container_folder(&record.sandbox, &record.id);
            fs::create_dir_all(&own).map_err(failed(format!("create {}", own.display())))?;
            inner.save_container(&record)?;
            inner.tables.lock().containers.insert(record.id.clone(), Container::new(record));
            Ok(())
        })
        .await
    }

    pub(crate) async fn end_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let (sandbox, signal, mut ended) = {
            let mut tables = self.inner.tables.lock();
            let Ok(container) = tables.container(id) else { return Ok(()) };
            if container.state() != ContainerState::Running {
                return Ok(());
            }
            (container.record.sandbox.clone(), container.record.stop_signal, container.ended.subscribe())
        };
        let folder = self.inner.config.sandbox(&sandbox);
        if !grace.is_zero() {
            self.signal(&folder, id, signal).await?;
            if tokio::time::timeout(grace, ended.wait_for(|ended| *ended)).await.is_ok() {
                return Ok(());
            }
        }
        self.signal(&folder, id, libc::SIGKILL).await?;
        match tokio::time::timeout(PATIENCE * 6, ended.wait_for(|ended| *ended)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(RuntimeError::DeadlineExceeded(format!("container {id} does not end after SIGKILL"))),
        }
    }

    async fn signal(&self, folder: &Path, id: &ContainerId, signal: i32) -> Result<()> {
        let mut shim = Shim::connect(folder).await?;
        match shim.done(&Request::Signal { container: id.to_string(), signal }, &[]).await {
            // It has just ended; the watch will say so.
            Err(RuntimeError::Precondition(_)) => Ok(()),
            result => result,
        }
    }

    pub(crate) async fn clear_container(&self, id: &ContainerId) -> Result<()> {
        self.end_container(id, Duration::ZERO).await?;
        let Ok(record) = self.inner.tables.lock().container(id).map(|container| container.record.clone()) else { return Ok(()) };
        if let Ok(mut shim) = Shim::connect(&self.inner.config.sandbox(&record.sandbox)).await
            && let Err(error) = shim.done(&Request::Forget { container: id.to_string() }, &[]).await
        {
            tracing::warn!(target: "node::runtime", container = %id, error = %error.full_message(), "shim does not forget a removed container");
        }
        let (cgroup, folder) = (record.spec.cgroup.clone(), self.inner.container_folder(&record.sandbox, id));
        blocking(move || {
            let removed = Cgroup::open(&cgroup).and_then(|cgroup| cgroup.remove(PATIENCE));
            removed.map_err(oci_failed("remove the container's cgroup"))
        })
        .await?;
        self.inner.snapshots.release(id).await?;
        blocking(move || remove_folder(&folder)).await?;
        if self.inner.tables.lock().containers.remove(id).is_some() {
            self.inner.push(RuntimeEvent::ContainerRemoved { sandbox: record.sandbox, container: id.clone() });
        }
        Ok(())
    }
}

/// What is written down of a container before anything of it runs. Reads its users from the root file system.
fn describe(
    folder: &Path,
    pod: &SandboxRecord,
    id: ContainerId,
    config: ContainerConfig,
    prepared: &PreparedRootfs,
    target_pid: Option<u32>,
) -> Result<ContainerRecord> {
    let image = &prepared.config;
    let profile = match &config.security.seccomp {
        Seccomp::Localhost(path) if !config.security.privileged => {
            Some(fs::read_to_string(path).map_err(failed(format!("read seccomp profile {}", path.display())))?)
        }
        _ => None,
    };
    let identity = user::look_up(&prepared.path, &config.security.user, &image.user)?;
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hostname = if pod.config.namespaces.host_network { host_name.trim() } else { &pod.config.hostname };
    let inputs = Inputs {
        sandbox: &pod.config,
        sandbox_folder: folder,
        container: &config,
        image,
        rootfs: &prepared.path,
        identity: &identity,
        cgroup: &format!("{}/{id}", pod.cgroup),
        provided: &provided_files(folder, &pod.config),
        profile,
        target_pid,
        hostname,
    };
    let spec = spec::build(&inputs)?;
    let stop_signal = config.stop_signal.as_deref().or(image.stop_signal.as_deref());
    let stop_signal = stop_signal.and_then(skiff_sys::signal::number).unwrap_or(libc::SIGTERM);
    Ok(ContainerRecord { id, sandbox: pod.id.clone(), config, created_at: now(), started_at: 0, ended: None, spec, stop_signal })
}
