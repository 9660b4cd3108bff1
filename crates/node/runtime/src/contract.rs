//! The contract, call by call.

use std::time::Duration;

use async_trait::async_trait;
use skiff_cri::{
    AsyncDuplex, ContainerConfig, ContainerFilter, ContainerId, ContainerStats, ContainerStatus, EventStream, ExecOptions, ExecOutput, ExecStream, Resources,
    Result, Runtime, RuntimeEvent, RuntimeStatus, SandboxConfig, SandboxFilter, SandboxId, SandboxStats, SandboxStatus, Version,
};
use skiff_oci::cgroup::Cgroup;
use skiff_shim::protocol::Request;

use crate::client::Shim;
use crate::files::{blocking, oci_failed};
use crate::spec;
use crate::state::EmbeddedRuntime;

#[async_trait]
impl Runtime for EmbeddedRuntime {
    async fn version(&self) -> Result<Version> {
        Ok(Version { name: "skiff".into(), version: env!("CARGO_PKG_VERSION").into() })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        Ok(RuntimeStatus {
            runtime_problem: None,
            network_problem: self.inner.network.not_ready_reason().await,
            handlers: vec![String::new()],
            user_namespaces: false,
            recursive_readonly_mounts: true,
            root: self.inner.config.run.clone(),
        })
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        self.make_sandbox(config).await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.end_sandbox(id).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.end_sandbox(id).await?;
        let (record, containers) = {
            let mut tables = self.inner.tables.lock();
            let Ok(sandbox) = tables.sandbox(id) else { return Ok(()) };
            (sandbox.record.clone(), tables.containers_of(id))
        };
        for removed in futures::future::join_all(containers.iter().map(|container| self.clear_container(container))).await {
            removed?;
        }
        self.clear_sandbox(id, Some(&record)).await?;
        if self.inner.tables.lock().sandboxes.remove(id).is_some() {
            self.inner.push(RuntimeEvent::SandboxRemoved { sandbox: id.clone() });
        }
        Ok(())
    }

    async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus> {
        Ok(self.inner.tables.lock().sandbox(id)?.record.status(&self.inner.config.sandbox(id)))
    }

    async fn list_sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<SandboxStatus>> {
        let tables = self.inner.tables.lock();
        let all = tables.sandboxes.values().map(|sandbox| sandbox.record.status(&self.inner.config.sandbox(&sandbox.record.id)));
        Ok(all.filter(|status| filter.matches(status)).collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        self.make_container(sandbox, config).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        self.launch(id).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.end_container(id, grace).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.clear_container(id).await
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let mut tables = self.inner.tables.lock();
        let sandbox = tables.container(id)?.record.sandbox.clone();
        let directory = tables.sandbox(&sandbox)?.record.config.log_directory.clone();
        Ok(tables.container(id)?.status(&directory))
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStatus>> {
        let tables = self.inner.tables.lock();
        let status = |container: &crate::state::Container| {
            let sandbox = tables.sandboxes.get(&container.record.sandbox)?;
            Some(container.status(&sandbox.record.config.log_directory))
        };
        Ok(tables.containers.values().filter_map(status).filter(|status| filter.matches(status)).collect())
    }

    async fn update_sandbox_resources(&self, id: &SandboxId, resources: &Resources) -> Result<()> {
        let cgroup = self.inner.tables.lock().sandbox(id)?.record.cgroup.clone();
        limit(cgroup, resources, "update the pod's limits").await?;
        let mut tables = self.inner.tables.lock();
        let record = &mut tables.sandbox(id)?.record;
        record.config.resources.change(resources);
        self.inner.save_sandbox(record)
    }

    async fn update_resources(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        let cgroup = self.inner.tables.lock().container(id)?.record.spec.cgroup.clone();
        limit(cgroup, resources, "update the container's limits").await?;
        let mut tables = self.inner.tables.lock();
        let record = &mut tables.container(id)?.record;
        record.config.resources.change(resources);
        record.spec.resources = spec::resources(&record.config.resources);
        self.inner.save_container(record)
    }

    async fn exec(&self, id: &ContainerId, options: &ExecOptions) -> Result<ExecStream> {
        Ok(self.start_exec(id, options).await?.0)
    }

    async fn exec_sync(&self, id: &ContainerId, argv: &[String], timeout: Duration) -> Result<ExecOutput> {
        self.run_exec(id, argv, timeout).await
    }

    async fn attach(&self, id: &ContainerId) -> Result<ExecStream> {
        self.join_streams(id).await
    }

    async fn port_forward(&self, id: &SandboxId, port: u16) -> Result<Box<dyn AsyncDuplex>> {
        self.forward(id, port).await
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let sandbox = self.inner.tables.lock().container(id)?.record.sandbox.clone();
        let mut shim = Shim::connect(&self.inner.config.sandbox(&sandbox)).await?;
        shim.done(&Request::ReopenLog { container: id.to_string() }, &[]).await
    }

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats> {
        self.measure(id).await
    }

    async fn sandbox_stats(&self, id: &SandboxId) -> Result<SandboxStats> {
        self.measure_sandbox(id).await
    }

    fn events(&self) -> EventStream {
        self.inner.events.subscribe()
    }
}

/// A lower limit of memory may have to wait until some is given back.
async fn limit(cgroup: String, resources: &Resources, step: &'static str) -> Result<()> {
    let resources = spec::resources(resources);
    blocking(move || Cgroup::open(&cgroup).and_then(|cgroup| cgroup.apply(&resources)).map_err(oci_failed(step))).await
}
