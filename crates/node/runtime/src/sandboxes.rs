//! Sandboxes, step by step: made, ended, taken away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use skiff_cri::{PidMode, PodIps, Result, RuntimeError, RuntimeEvent, SandboxConfig, SandboxId};
use skiff_oci::cgroup::Cgroup;
use skiff_oci::sandbox::SandboxSpec;
use skiff_shim::protocol::{Request, SPEC};

use crate::client::Shim;
use crate::files::{PATIENCE, blocking, failed, oci_failed, remove_folder};
use crate::spec;
use crate::state::{EmbeddedRuntime, Name, Reserved, Sandbox, SandboxRecord, new_id, now, write_json};

impl EmbeddedRuntime {
    pub(crate) async fn make_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        check(config)?;
        let _reserved = Reserved::take(&self.inner, Name::Sandbox(config.metadata.clone()))?;
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
        let (place, copy) = (folder.clone(), record.clone());
        blocking(move || prepare(&place, &copy)).await?;
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
            // What it does not end goes with the cgroup below.
            if let Err(error) = shim.done(&Request::Shutdown, &[]).await {
                tracing::debug!(target: "node::runtime", sandbox = %id, error = %error.full_message(), "shim did not confirm its end");
            }
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
            remove_folder(&folder)
        })
        .await
    }
}

/// Whether this runtime can do what is asked for.
fn check(config: &SandboxConfig) -> Result<()> {
    if config.namespaces.user.is_some() {
        return Err(RuntimeError::Unsupported("user namespaces are not supported by this runtime yet".into()));
    }
    match config.runtime_handler.is_empty() {
        true => Ok(()),
        false => Err(RuntimeError::Invalid(format!("no runtime for {:?} is configured", config.runtime_handler))),
    }
}

/// The folder, what the shim reads in it, and the pod's cgroup.
fn prepare(folder: &Path, record: &SandboxRecord) -> Result<()> {
    let host_network = record.config.namespaces.host_network;
    fs::create_dir_all(folder.join("containers")).map_err(failed(format!("create {}", folder.display())))?;
    provide_files(folder, &record.config)?;
    let shim_spec = SandboxSpec {
        folder: folder.to_owned(),
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
    cgroup.apply(&spec::resources(&record.config.resources)).map_err(oci_failed("limit the pod"))
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

pub(crate) fn provided_files(folder: &Path, config: &SandboxConfig) -> Vec<(PathBuf, PathBuf)> {
    let mut files = vec![(folder.join("resolv.conf"), "/etc/resolv.conf".into())];
    if !config.namespaces.host_network {
        files.push((folder.join("hostname"), "/etc/hostname".into()));
    }
    files
}
