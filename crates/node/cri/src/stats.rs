//! What containers use. Times are nanoseconds since 1970, sizes are bytes.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    pub timestamp: i64,
    /// Nanoseconds of CPU since the start, all cores together.
    pub usage_nanos: u64,
    pub user_nanos: u64,
    pub system_nanos: u64,
    /// Periods in which the quota was used up, and for how long.
    pub throttled_periods: u64,
    pub throttled_nanos: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    pub timestamp: i64,
    pub usage: u64,
    /// Usage without inactive file cache: what eviction looks at.
    pub working_set: u64,
    pub rss: u64,
    /// Zero without a limit.
    pub limit: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsStats {
    pub timestamp: i64,
    pub used: u64,
    pub inodes_used: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStats {
    pub id: crate::ContainerId,
    pub cpu: CpuStats,
    pub memory: MemoryStats,
    /// The container's writable layer.
    pub rootfs: FsStats,
    /// Its log files.
    pub logs: FsStats,
    pub pids: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStats {
    pub id: crate::SandboxId,
    pub cpu: CpuStats,
    pub memory: MemoryStats,
    pub pids: u64,
    pub containers: Vec<ContainerStats>,
}
