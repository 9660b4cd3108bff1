//! Control groups and files into statistics.

use std::fs;
use std::path::Path;

use skiff_cri::{ContainerId, ContainerStats, CpuStats, FsStats, MemoryStats, Result, RuntimeError, SandboxId, SandboxStats};
use skiff_oci::cgroup::{Cgroup, Usage};

use crate::state::{EmbeddedRuntime, log_path, now};

fn split(usage: &Usage) -> (CpuStats, MemoryStats) {
    let timestamp = now();
    let cpu = CpuStats {
        timestamp,
        usage_nanos: usage.cpu,
        user_nanos: usage.cpu_user,
        system_nanos: usage.cpu_system,
        throttled_periods: usage.throttled_periods,
        throttled_nanos: usage.throttled_time,
    };
    let memory = MemoryStats {
        timestamp,
        usage: usage.memory,
        working_set: usage.memory_working_set,
        rss: usage.memory_rss,
        limit: usage.memory_limit,
        page_faults: usage.page_faults,
        major_page_faults: usage.major_page_faults,
    };
    (cpu, memory)
}

fn usage(cgroup: &str) -> Result<Usage> {
    Cgroup::open(cgroup).map(|cgroup| cgroup.usage()).map_err(|error| RuntimeError::failed("read the cgroup", error))
}

/// The log and its rotated siblings.
fn log_usage(path: Option<&Path>) -> FsStats {
    let folder = path.and_then(Path::parent);
    let sizes = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
    sizes.filter(fs::Metadata::is_file).fold(FsStats { timestamp: now(), ..FsStats::default() }, |sum, data| FsStats {
        used: sum.used + std::os::unix::fs::MetadataExt::blocks(&data) * 512,
        inodes_used: sum.inodes_used + 1,
        ..sum
    })
}

impl EmbeddedRuntime {
    pub(crate) async fn measure(&self, id: &ContainerId) -> Result<ContainerStats> {
        let (cgroup, log) = {
            let mut tables = self.inner.tables.lock();
            let record = tables.container(id)?.record.clone();
            let directory = tables.sandbox(&record.sandbox)?.record.config.log_directory.clone();
            (record.spec.cgroup, log_path(&directory, &record.config.log_path))
        };
        let rootfs = self.inner.snapshots.usage(id).await?;
        let usage = usage(&cgroup)?;
        let (cpu, memory) = split(&usage);
        Ok(ContainerStats { id: id.clone(), cpu, memory, rootfs, logs: log_usage(log.as_deref()), pids: usage.pids })
    }

    pub(crate) async fn measure_sandbox(&self, id: &SandboxId) -> Result<SandboxStats> {
        let (cgroup, running) = {
            let mut tables = self.inner.tables.lock();
            let cgroup = tables.sandbox(id)?.record.cgroup.clone();
            let of = tables.containers.values().filter(|c| c.record.sandbox == *id && c.state() == skiff_cri::ContainerState::Running);
            (cgroup, of.map(|c| c.record.id.clone()).collect::<Vec<_>>())
        };
        let mut containers = Vec::new();
        for container in running {
            match self.measure(&container).await {
                Err(error) if error.is_not_found() => {}
                stats => containers.push(stats?),
            }
        }
        let usage = usage(&cgroup)?;
        let (cpu, memory) = split(&usage);
        // On v1 a group doesn't count the processes of those below unless it is hierarchical; pids always is.
        Ok(SandboxStats { id: id.clone(), cpu, memory, pids: usage.pids, containers })
    }
}
