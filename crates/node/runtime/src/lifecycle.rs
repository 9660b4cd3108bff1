//! Making, starting, stopping and removing, step by step.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use skiff_cri::{
    ContainerConfig, ContainerId, ContainerState, ExitReason, ImageConfig, PidMode, PodIps, Result, RuntimeError, RuntimeEvent,
    SandboxConfig, SandboxId, Seccomp,
};
use skiff_oci::cgroup::Cgroup;
use skiff_oci::sandbox::SandboxSpec;
use skiff_shim::protocol::{Answer, Request, SPEC, StartRequest};

use crate::client::{Shim, unexpected};
use crate::spec::{self, Inputs};
use crate::state::{Container, ContainerRecord, EmbeddedRuntime, Ended, Sandbox, SandboxRecord, log_path, new_id, now, write_json};
use crate::user;

/// How long killed processes get to leave their cgroup.
const PATIENCE: Duration = Duration::from_secs(10);

fn failed(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> RuntimeError {
    let step = step.into();
    move |source| RuntimeError::failed(step, source)
}

/// Work with files that may take a moment, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(RuntimeError::failed("run a blocking step", error)))
}

fn oci_failed(step: &str) -> impl FnOnce(skiff_oci::Error) -> RuntimeError + '_ {
    move |error| RuntimeError::failed(step, error.full_message())
}

impl EmbeddedRuntime {
    pub(crate) async fn make_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        self.check_sandbox(config)?;
        let id = SandboxId::new(new_id()?);
        let record = SandboxRecord {
            id: id.clone(),
            config: config.clone(),
            created_at: now(),
            ips: PodIps::default(),
            cgroup: self.pod_cgroup(&id, config),
            ready: true,
        };
        match self.try_make_sandbox(record.clone()).await {
            Ok(()) => {
                self.inner.push(RuntimeEvent::SandboxReady { sandbox: id.clone() });
                Ok(id)
            }
            Err(error) => {
                if let Err(cleaning) = self.clear_sandbox(&id, Some(&record)).await {
                    tracing::warn!(target: "node::runtime", sandbox = %id, error = %cleaning.full_message(), "failed sandbox not cleaned up");
                }
                Err(error)
            }
        }
    }

    fn check_sandbox(&self, config: &SandboxConfig) -> Result<()> {
        if config.namespaces.user.is_some() {
            return Err(RuntimeError::Unsupported("user namespaces are not supported by this runtime yet".into()));
        }
        if !config.runtime_handler.is_empty() {
            return Err(RuntimeError::Invalid(format!("no runtime for {:?} is configured", config.runtime_handler)));
        }
        if self.inner.tables.lock().sandboxes.values().any(|other| other.record.config.metadata == config.metadata) {
            return Err(RuntimeError::AlreadyExists { kind: "sandbox", name: config.metadata.name.clone() });
        }
        Ok(())
    }

    fn pod_cgroup(&self, id: &SandboxId, config: &SandboxConfig) -> String {
        let root = self.inner.config.cgroup_root.trim_end_matches('/');
        match config.cgroup_parent.trim_matches('/') {
            "" => format!("{root}/pods/{id}"),
            parent => format!("{root}/{parent}"),
        }
    }

    async fn try_make_sandbox(&self, mut record: SandboxRecord) -> Result<()> {
        let folder = self.inner.config.sandbox(&record.id);
        let host_network = record.config.namespaces.host_network;
        fs::create_dir_all(folder.join("containers")).map_err(failed(format!("create {}", folder.display())))?;
        provide_files(&folder, &record.config)?;
        let shim_spec = SandboxSpec {
            folder: folder.clone(),
            own_net: !host_network,
            own_ipc: !record.config.namespaces.host_ipc,
            own_uts: !host_network,
            own_pid: record.config.namespaces.pid == PidMode::Pod,
            hostname: record.config.hostname.clone(),
            sysctls: record.config.sysctls.clone(),
        };
        write_json(&folder.join(SPEC), &shim_spec)?;
        let cgroup = Cgroup::open(&record.cgroup).map_err(oci_failed("find the pod's cgroup"))?;
        cgroup.create().map_err(oci_failed("create the pod's cgroup"))?;
        cgroup.apply(&spec::resources(&record.config.resources)).map_err(oci_failed("limit the pod"))?;
        self.spawn_shim(&folder).await?;
        if !host_network {
            record.ips = self.inner.network.attach(&record.net(&folder)).await?;
        }
        self.inner.save_sandbox(&record)?;
        let shim = Shim::connect(&folder).await?;
        let id = record.id.clone();
        self.inner.tables.lock().sandboxes.insert(id.clone(), Sandbox { record });
        self.follow(id, shim);
        Ok(())
    }

    async fn spawn_shim(&self, folder: &Path) -> Result<()> {
        let mut command = tokio::process::Command::new(&self.inner.config.exe);
        command.arg(skiff_shim::ARGUMENT).arg(folder).env_clear().current_dir("/").stdin(Stdio::null());
        let output = command.output().await.map_err(failed("start the shim"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(RuntimeError::failed("start the shim", String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }

    /// Ends what runs, then takes the network away.
    pub(crate) async fn end_sandbox(&self, id: &SandboxId) -> Result<()> {
        let Ok(record) = self.inner.tables.lock().sandbox(id).map(|sandbox| sandbox.record.clone()) else { return Ok(()) };
        let containers = self.inner.tables.lock().containers_of(id);
        let stops = containers.iter().map(|container| self.end_container(container, Duration::ZERO));
        for stopped in futures::future::join_all(stops).await {
            stopped?;
        }
        let folder = self.inner.config.sandbox(id);
        if !record.config.namespaces.host_network {
            self.inner.network.detach(&record.net(&folder)).await?;
        }
        let mut tables = self.inner.tables.lock();
        let Ok(sandbox) = tables.sandbox(id) else { return Ok(()) };
        if std::mem::replace(&mut sandbox.record.ready, false) {
            self.inner.save_sandbox(&sandbox.record)?;
            drop(tables);
            self.inner.push(RuntimeEvent::SandboxNotReady { sandbox: id.clone() });
        }
        Ok(())
    }

    /// Takes everything of a sandbox off the machine. Repeatable, and right for half-made ones.
    pub(crate) async fn clear_sandbox(&self, id: &SandboxId, record: Option<&SandboxRecord>) -> Result<()> {
        let folder = self.inner.config.sandbox(id);
        if let Ok(mut shim) = Shim::connect(&folder).await {
            let _ = shim.done(&Request::Shutdown, &[]).await;
        }
        if let Some(record) = record.filter(|record| !record.config.namespaces.host_network) {
            self.inner.network.detach(&record.net(&folder)).await?;
        }
        let cgroup = record.map(|record| record.cgroup.clone());
        blocking(move || {
            if let Some(cgroup) = cgroup {
                let removed = Cgroup::open(&cgroup).and_then(|cgroup| cgroup.remove(PATIENCE));
                removed.map_err(oci_failed("remove the pod's cgroup"))?;
            }
            skiff_oci::sandbox::remove(&folder).map_err(oci_failed("take the pod's namespaces away"))?;
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(format!("remove {}", folder.display()))(error)),
                _ => Ok(()),
            }
        })
        .await
    }

    pub(crate) async fn make_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        let pod = self.inner.tables.lock().sandbox(sandbox)?.record.clone();
        if !pod.ready {
            return Err(RuntimeError::Precondition(format!("sandbox {sandbox} is not ready")));
        }
        self.check_name(sandbox, config)?;
        let id = ContainerId::new(new_id()?);
        let prepared = self.inner.snapshots.prepare(&config.image, &id).await?;
        let made = self.record_container(&pod, &id, config, &prepared.path, &prepared.config).await;
        if let Err(error) = made {
            self.inner.snapshots.release(&id).await?;
            return Err(error);
        }
        self.inner.push(RuntimeEvent::ContainerCreated { sandbox: sandbox.clone(), container: id.clone() });
        Ok(id)
    }

    fn check_name(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<()> {
        let tables = self.inner.tables.lock();
        let same = |c: &&Container| c.record.sandbox == *sandbox && c.record.config.metadata == config.metadata;
        match tables.containers.values().find(same) {
            Some(_) => Err(RuntimeError::AlreadyExists { kind: "container", name: config.metadata.name.clone() }),
            None => Ok(()),
        }
    }

    async fn record_container(
        &self,
        pod: &SandboxRecord,
        id: &ContainerId,
        config: &ContainerConfig,
        rootfs: &Path,
        image: &ImageConfig,
    ) -> Result<()> {
        let folder = self.inner.config.sandbox(&pod.id);
        let profile = match &config.security.seccomp {
            Seccomp::Localhost(path) if !config.security.privileged => {
                Some(fs::read_to_string(path).map_err(failed(format!("read seccomp profile {}", path.display())))?)
            }
            _ => None,
        };
        let target_pid = match &config.pid {
            Some(PidMode::Target(target)) => self.inner.tables.lock().container(target)?.pid,
            _ => None,
        };
        let identity = user::look_up(rootfs, &config.security.user, &image.user)?;
        let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let hostname = if pod.config.namespaces.host_network { host_name.trim() } else { &pod.config.hostname };
        let inputs = Inputs {
            sandbox: &pod.config,
            sandbox_folder: &folder,
            container: config,
            image,
            rootfs,
            identity: &identity,
            cgroup: &format!("{}/{id}", pod.cgroup),
            provided: &provided_files(&folder, &pod.config),
            profile,
            target_pid,
            hostname,
        };
        let stop_signal = config.stop_signal.as_deref().or(image.stop_signal.as_deref());
        let record = ContainerRecord {
            id: id.clone(),
            sandbox: pod.id.clone(),
            config: config.clone(),
            created_at: now(),
            started_at: 0,
            ended: None,
            spec: spec::build(&inputs)?,
            stop_signal: stop_signal.and_then(skiff_sys::signal::number).unwrap_or(libc::SIGTERM),
        };
        let own = self.inner.container_folder(&pod.id, id);
        fs::create_dir_all(&own).map_err(failed(format!("create {}", own.display())))?;
        self.inner.save_container(&record)?;
        self.inner.tables.lock().containers.insert(id.clone(), Container::new(record));
        Ok(())
    }

    pub(crate) async fn launch(&self, id: &ContainerId) -> Result<()> {
        let record = {
            let mut tables = self.inner.tables.lock();
            let container = tables.container(id)?;
            if container.state() != ContainerState::Created || container.starting {
                return Err(RuntimeError::Precondition(format!("container {id} has been started before")));
            }
            container.starting = true;
            container.record.started_at = now();
            container.record.clone()
        };
        let started = self.ask_to_start(&record).await;
        let early = {
            let mut tables = self.inner.tables.lock();
            let container = tables.container(id)?;
            container.starting = false;
            container.pid = started.as_ref().ok().copied();
            let _ = self.inner.save_container(&container.record);
            container.early_exit.take()
        };
        match started {
            Ok(_) => {
                self.inner.push(RuntimeEvent::ContainerStarted { sandbox: record.sandbox, container: id.clone() });
                if let Some(exit) = early {
                    self.end(id, Ended::from_exit(&exit));
                }
                Ok(())
            }
            Err(error) => {
                let message = error.full_message();
                self.end(id, Ended { code: 128, reason: ExitReason::StartError, message, finished_at: now() });
                Err(error)
            }
        }
    }

    async fn ask_to_start(&self, record: &ContainerRecord) -> Result<u32> {
        let directory = self.inner.tables.lock().sandbox(&record.sandbox)?.record.config.log_directory.clone();
        let request = StartRequest {
            container: record.id.to_string(),
            spec: record.spec.clone(),
            folder: self.inner.container_folder(&record.sandbox, &record.id),
            log: log_path(&directory, &record.config.log_path),
            stdin: record.config.stdin,
            stdin_once: record.config.stdin_once,
        };
        let mut shim = Shim::connect(&self.inner.config.sandbox(&record.sandbox)).await?;
        match shim.request(&Request::Start(Box::new(request)), &[]).await? {
            Answer::Started { pid } => Ok(pid as u32),
            other => Err(unexpected(&other)),
        }
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
        if let Ok(mut shim) = Shim::connect(&self.inner.config.sandbox(&record.sandbox)).await {
            let _ = shim.done(&Request::Forget { container: id.to_string() }, &[]).await;
        }
        let (cgroup, folder) = (record.spec.cgroup.clone(), self.inner.container_folder(&record.sandbox, id));
        blocking(move || {
            let removed = Cgroup::open(&cgroup).and_then(|cgroup| cgroup.remove(PATIENCE));
            removed.map_err(oci_failed("remove the container's cgroup"))
        })
        .await?;
        self.inner.snapshots.release(id).await?;
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(format!("remove {}", folder.display()))(error)),
            _ => {}
        }
        if self.inner.tables.lock().containers.remove(id).is_some() {
            self.inner.push(RuntimeEvent::ContainerRemoved { sandbox: record.sandbox, container: id.clone() });
        }
        Ok(())
    }
}

/// resolv.conf and hostname, for pods whose kubelet doesn't mount them itself.
fn provide_files(folder: &Path, config: &SandboxConfig) -> Result<()> {
    let dns = &config.dns;
    let resolv = if dns.servers.is_empty() && dns.searches.is_empty() && dns.options.is_empty() {
        fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
    } else {
        let mut text: String = dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        for (word, list) in [("search", &dns.searches), ("options", &dns.options)] {
            if !list.is_empty() {
                text.push_str(&format!("{word} {}\n", list.join(" ")));
            }
        }
        text
    };
    fs::write(folder.join("resolv.conf"), resolv).map_err(failed("write resolv.conf"))?;
    fs::write(folder.join("hostname"), format!("{}\n", config.hostname)).map_err(failed("write hostname"))
}

fn provided_files(folder: &Path, config: &SandboxConfig) -> Vec<(PathBuf, PathBuf)> {
    let mut files = vec![(folder.join("resolv.conf"), "/etc/resolv.conf".into())];
    if !config.namespaces.host_network {
        files.push((folder.join("hostname"), "/etc/hostname".into()));
    }
    files
}
